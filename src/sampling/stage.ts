// What a sampler is to the machine that runs it: rows of coefficients over named slots. Both executors (the fused GPU
// kernel and the host loop below) run these rows; how the numbers come about is left to families/.
import { PhospheneError } from '../error.ts'

/** A linear combination of slots and of the three inputs 'model', 'denoised' and 'noise': name → coefficient (f64). */
export type Row = Readonly<Record<string, number>>

export interface Update {
  readonly slot: string
  readonly terms: Row
}

/** One call of the model and the row that follows it: what one `scheduler.step` does. */
export interface Stage {
  /** The timestep given to the model; may be fractional. */
  readonly timestep: number
  /** The model's input is x · inputScale. */
  readonly inputScale: number
  /** denoised = x·d.x + model·d.model, clamped to ±clip if given; the prediction type is folded in here. */
  readonly denoised: { readonly x: number; readonly model: number; readonly clip?: number }
  /** New values, all computed from the old slot values; a slot without an update keeps its value. */
  readonly updates: readonly Update[]
  /** Draws one noise tensor of the latents' shape before the row, even where its coefficient is 0, as diffusers does. */
  readonly drawsNoise: boolean
}

/** x = signal · image + noise · N(0, 1). */
export interface NoiseLevel {
  readonly signal: number
  readonly noise: number
}

export interface SamplingRun {
  /** diffusers' `scheduler.timesteps` (from the first stage that runs), one per stage. */
  readonly timesteps: readonly number[]
  /** diffusers' `scheduler.sigmas` of the whole schedule, for reports; samplers defined on timesteps alone have none. */
  readonly sigmas?: readonly number[]
  /** The first latents of text-to-image are N(0, 1) · initNoiseSigma. */
  readonly initNoiseSigma: number
  /** 'x' first, then history slots; history is all zero at the start. */
  readonly slots: readonly string[]
  readonly stages: readonly Stage[]
  /** How an image is noised to stage `index`; for image-to-image (index 0) and the blending of inpainting. */
  addNoise(index: number): NoiseLevel
}

/**
 * Runs one row on the host: `slots` (all of one length) change in place, sums are f64 and stored as f32.
 * `model` is the model's (guided) output for x · inputScale; `noise` is needed where `stage.drawsNoise`.
 */
export function applyStage(
  stage: Stage,
  slots: Readonly<Record<string, Float32Array>>,
  model: Float32Array,
  noise?: Float32Array,
): void {
  const x = slot(slots, 'x')
  const length = x.length
  const { clip } = stage.denoised
  const denoised = new Float64Array(length)
  for (let i = 0; i < length; i++) {
    const value = x[i]! * stage.denoised.x + model[i]! * stage.denoised.model
    denoised[i] = clip === undefined ? value : Math.min(Math.max(value, -clip), clip)
  }
  const sources: Record<string, ArrayLike<number> | undefined> = { ...slots, model, denoised, noise }
  const results = stage.updates.map(({ terms }) => {
    const sum = new Float64Array(length)
    for (const [name, coefficient] of Object.entries(terms)) {
      const source = slot(sources, name)
      for (let i = 0; i < length; i++) sum[i] = sum[i]! + coefficient * source[i]!
    }
    return sum
  })
  stage.updates.forEach((update, i) => {
    slot(slots, update.slot).set(results[i]!)
  })
}

function slot<T>(of: Readonly<Record<string, T | undefined>>, name: string): T {
  const found = of[name]
  if (found) return found
  throw new PhospheneError({
    code: 'internal',
    message: `a sampler's row uses '${name}', which was not given (there are: ${Object.keys(of).join(', ')})`,
    fix: 'Report this as a bug, with the sampler and the number of steps.',
  })
}
