// What opening a pipeline is on every platform: the model first, then the device, so that a bad folder costs no time.
import { PhospheneError } from '../error.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import type { Backend } from './backend-contract.ts'
import { openModel } from './model.ts'
import { checkOptimisations, type Optimisations, passOptions } from './optimisations.ts'
import { sizeCheck } from './size-limit.ts'
import { checkKind, TextToImage } from './text-to-image.ts'
import { checkTuning, type TuningOptions } from './tune-options.ts'
import { checkWeightFormat } from './weight-formats.ts'

/** 'auto': f16 on a GPU, else f32. */
export type DTypeChoice = 'auto' | StorageDType

/** What opening a pipeline takes on every platform. */
export interface CommonOptions extends TuningOptions {
  readonly dtype?: DTypeChoice | undefined
  /** Bytes for everything but weights: intermediates and what lives across steps. No limit unless given. */
  readonly memoryBytes?: number | undefined
  /**
   * How weights of convolutions, products and token tables are stored on the device: 'int8' and 'int4' take half and a quarter
   * of f16's bytes. As the files have them unless given.
   */
  readonly weights?: WeightFormat | undefined
  /**
   * Whether components stay loaded for the next picture (true unless given). If not, a component's weights are freed once the
   * picture no longer needs them, and read again for the next one.
   */
  readonly keepLoaded?: boolean | undefined
  /** What of the engine is switched off. */
  readonly optimisations?: Optimisations | undefined
}

export async function openTextToImage(
  files: ModelFiles,
  dtypeChoice: DTypeChoice | undefined,
  openBackend: () => Promise<Backend>,
  { memoryBytes, weights, keepLoaded, optimisations = {}, tune }: Omit<CommonOptions, 'dtype'> = {},
): Promise<TextToImage> {
  if (memoryBytes !== undefined && !(memoryBytes > 0))
    throw new PhospheneError({
      code: 'options/invalid',
      message: `memoryBytes is ${memoryBytes}`,
      fix: 'Give the bytes that intermediates may take, or leave it out.',
    })
  checkWeightFormat(weights)
  checkOptimisations(optimisations)
  checkTuning(tune)
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
    keepLoaded,
    passes: passOptions(optimisations),
    checkSize: sizeCheck(model, obstacle, { dtype, executor: backend.executor }),
  })
}
