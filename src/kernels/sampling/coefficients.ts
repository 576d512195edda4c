// A sampler's row as the numbers that the sampling kernels read, so that their text is the same for every step.
// All sampling kernels share these buffers, bound whole:
//   state         f32 [slots, slotStride(elements)]: slot s, element i of the row-major latents at s · slotStride + i; 'x' is slot 0
//   noise         f32 [elements]
//   coefficients  f32 as samplerCoefficients lays them out, written anew for each step
//   factors       f32 [n], from guidanceRescale to samplerRow
//   flags         u32 [1]: how many values were not finite since it was cleared
import { PhospheneError } from '../../error.ts'

/** What is bound at `@binding(i)`; the model's operands are bound as the plan binds them. */
export type SamplingBinding = 'state' | 'noise' | 'coefficients' | 'factors' | 'flags' | 'modelInput' | 'modelOutput'

/** One dispatch of a sampling step: like a family's, but over the sampler's own buffers. */
export interface SamplingDispatch {
  readonly label: string
  readonly wgsl: string
  readonly bindings: readonly SamplingBinding[]
  readonly workgroups: readonly [number, number, number]
}

/** What a step does after the model; a StepRow of run/executor.ts fits. */
export interface SamplerRow {
  readonly inputScale: number
  readonly denoised: { readonly x: number; readonly model: number; readonly clip?: number }
  /** Terms by slot name, or 'model' (after guidance), 'denoised', 'noise'. Slots that are not named keep their values. */
  readonly updates: readonly { readonly slot: string; readonly terms: Readonly<Record<string, number>> }[]
}

/** Floats from one slot to the next. */
export function slotStride(elements: number): number {
  return Math.ceil(elements / 4) * 4
}

/** Places in the coefficients; the matrix [slots, slots + 3] follows, columns: slots, model, denoised, noise. */
export const places = {
  guidanceScale: 0,
  guidanceRescale: 1,
  inputScale: 2,
  denoisedX: 3,
  denoisedModel: 4,
  clip: 5,
  matrix: 8,
} as const

/** How many floats the coefficients of a sampler with `slots` slots take. */
export function coefficientCount(slots: number): number {
  return Math.ceil((places.matrix + slots * (slots + 3)) / 4) * 4
}

/** Beyond every latent: a clamp that does nothing to finite values. */
const noClip = 3e38

/** Raises 'internal' for a term or a slot that the sampler does not have. */
export function samplerCoefficients(
  row: SamplerRow,
  slots: readonly string[],
  guidance: { readonly scale: number; readonly rescale: number },
): Float32Array<ArrayBuffer> {
  const columns = [...slots, 'model', 'denoised', 'noise']
  const place = (name: string, among: readonly string[]): number => {
    const index = among.indexOf(name)
    if (index >= 0) return index
    throw new PhospheneError({
      code: 'internal',
      message: `a sampler's row names ${name}; it has ${among.join(', ')}`,
      fix: 'Report this with the sampler that you chose; it is a fault of the engine.',
    })
  }
  const result = new Float32Array(coefficientCount(slots.length))
  result[places.guidanceScale] = guidance.scale
  result[places.guidanceRescale] = guidance.rescale
  result[places.inputScale] = row.inputScale
  result[places.denoisedX] = row.denoised.x
  result[places.denoisedModel] = row.denoised.model
  result[places.clip] = row.denoised.clip ?? noClip
  const matrix = result.subarray(places.matrix)
  slots.forEach((_, s) => {
    matrix[s * columns.length + s] = 1
  })
  for (const { slot, terms } of row.updates) {
    const start = place(slot, slots) * columns.length
    matrix.fill(0, start, start + columns.length)
    for (const [name, factor] of Object.entries(terms)) matrix[start + place(name, columns)] = factor
  }
  return result
}
