// Whether a job's graphs fit where they shall run, found out before anything is loaded; and if not, what would fit.
import { PhospheneError } from '../error.ts'
import type { Executor } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { Obstacle } from './backend-contract.ts'
import { readbackBytes, samplingBytes } from './memory-limit.ts'
import type { Model } from './model.ts'
import type { Job } from './options.ts'

interface Place {
  readonly executor: Executor
  readonly dtype: StorageDType
}

/** `checkSize` for a model on one device: shapes that fitted once are not planned again. */
export function sizeCheck(model: Model, obstacle: Obstacle, on: Place): (job: Job) => void {
  const fitting = new Set<string>()
  return (job) => {
    const key = `${job.prompts.length} ${job.guidanceScale > 1} ${job.latentHeight}×${job.latentWidth}`
    if (fitting.has(key)) return
    checkSize(model, job, obstacle, on)
    fitting.add(key)
  }
}

/** Raises 'options/size' with the largest size of about the same proportions that fits. */
function checkSize(model: Model, job: Job, obstacle: Obstacle, { executor, dtype }: Place): void {
  const { denoiser, autoencoder, textEncoders } = model.parts
  const batch = job.prompts.length * (job.guidanceScale > 1 ? 2 : 1)
  const factor = autoencoder.pixelsPerLatent
  const at = (height: number, width: number): string | undefined =>
    obstacle(denoiser.graph({ batch, height, width, tokens: textEncoders[0]!.tokens }), {
      held: denoiser.heldInputs,
      besideBytes: samplingBytes(executor, model, job),
    }) ??
    obstacle(autoencoder.decoder({ batch: 1, height, width }), {
      besideBytes: readbackBytes(model.parts, { height, width }, dtype),
    })
  const { latentHeight, latentWidth } = job
  const reason = at(latentHeight, latentWidth)
  if (reason === undefined) return

  // Halving the range of the longer side; the shorter one follows.
  const longer = Math.max(latentHeight, latentWidth)
  const scaled = (side: number, to: number) => Math.max(1, Math.round((side * to) / longer))
  let [fits, tooLarge] = [0, longer]
  while (tooLarge - fits > 1) {
    const middle = Math.floor((fits + tooLarge) / 2)
    if (at(scaled(latentHeight, middle), scaled(latentWidth, middle)) === undefined) fits = middle
    else tooLarge = middle
  }
  const [width, height] = [scaled(latentWidth, fits) * factor, scaled(latentHeight, fits) * factor]
  throw new PhospheneError({
    code: 'options/size',
    message: `${job.width}×${job.height}${job.prompts.length > 1 ? `, ${job.prompts.length} at once,` : ''} does not fit: ${reason}`,
    fix:
      fits > 0
        ? `Draw at most ${width}×${height}${job.prompts.length > 1 ? ', or fewer pictures at once' : ''}.`
        : 'Draw fewer pictures at once, or use a device with more memory.',
  })
}
