// What opening a pipeline is on every platform: the model first, then the device, so that a bad folder costs no time.
import { PhospheneError } from '../error.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import type { Backend } from './backend-contract.ts'
import { openModel } from './model.ts'
import { sizeCheck } from './size-limit.ts'
import { checkKind, TextToImage } from './text-to-image.ts'
import { checkWeightFormat } from './weight-formats.ts'

/** 'auto': f16 on a GPU, else f32. */
export type DTypeChoice = 'auto' | StorageDType

export async function openTextToImage(
  files: ModelFiles,
  dtypeChoice: DTypeChoice | undefined,
  openBackend: () => Promise<Backend>,
  memoryBytes?: number | undefined,
  weights?: WeightFormat | undefined,
): Promise<TextToImage> {
  if (memoryBytes !== undefined && !(memoryBytes > 0))
    throw new PhospheneError({
      code: 'options/invalid',
      message: `memoryBytes is ${memoryBytes}`,
      fix: 'Give the bytes that intermediates may take, or leave it out.',
    })
  checkWeightFormat(weights)
  const model = await openModel(files)
  checkKind(model)
  const backend = await openBackend()
  const dtype = dtypeChoice === undefined || dtypeChoice === 'auto' ? backend.dtype : dtypeChoice
  const obstacle = backend.obstacle(dtype, memoryBytes)
  return new TextToImage({
    model,
    backend,
    dtype,
    memoryBytes,
    weights,
    checkSize: sizeCheck(model, obstacle, { dtype, executor: backend.executor }),
  })
}
