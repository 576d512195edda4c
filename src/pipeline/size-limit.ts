// Whether a job's graphs fit where they shall run, found out before anything is loaded; and if not, what would fit.
import { PhospheneError } from '../error.ts'
import type { Obstacle } from './backend-contract.ts'
import type { Model } from './model.ts'
import type { Job } from './options.ts'

/** `checkSize` for a model on one device: shapes that fitted once are not planned again. */
export function sizeCheck(model: Model, obstacle: Obstacle): (job: Job) => void {
  const fitting = new Set<string>()
  return (job) => {
    const key = `${job.prompts.length} ${job.guidanceScale > 1} ${job.latentHeight}×${job.latentWidth}`
    if (fitting.has(key)) return
    checkSize(model, job, obstacle)
    fitting.add(key)
  }
}

/** Raises 'options/size' with the largest size of about the same proportions that fits. */
function checkSize(model: Model, job: Job, obstacle: Obstacle): void {
  const { denoiser, autoencoder, textEncoders } = model.parts
  const batch = job.prompts.length * (job.guidanceScale > 1 ? 2 : 1)
  const factor = autoencoder.pixelsPerLatent
  const at = (height: number, width: number): string | undefined =>
    obstacle(denoiser.graph({ batch, height, width, tokens: textEncoders[0]!.tokens })) ??
    obstacle(autoencoder.decoder({ batch: 1, height, width }))
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
