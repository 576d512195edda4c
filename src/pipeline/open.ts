// What opening a pipeline is on every platform: the model first, then the device, so that a bad folder costs no time.
import type { StorageDType } from '../tensor/dtype.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import type { Backend } from './backend-contract.ts'
import { openModel } from './model.ts'
import { sizeCheck } from './size-limit.ts'
import { checkKind, TextToImage } from './text-to-image.ts'

/** 'auto': f16 on a GPU, else f32. */
export type DTypeChoice = 'auto' | StorageDType

export async function openTextToImage(
  files: ModelFiles,
  dtypeChoice: DTypeChoice | undefined,
  openBackend: () => Promise<Backend>,
): Promise<TextToImage> {
  const model = await openModel(files)
  checkKind(model)
  const backend = await openBackend()
  const dtype = dtypeChoice === undefined || dtypeChoice === 'auto' ? backend.dtype : dtypeChoice
  const obstacle = backend.obstacle(dtype)
  return new TextToImage({
    model,
    backend,
    dtype,
    checkSize: sizeCheck(model, obstacle),
  })
}
