// What `weights` may be, for people who choose.
import { PhospheneError } from '../error.ts'
import { quantisedFormats, type WeightFormat } from '../tensor/quantise.ts'

/** Formats in which a model can be written. */
export const quantisedWeights = quantisedFormats

/** How weights may be stored while a model is loaded; 'f16' is not quantised: as dtype says. */
export const weightFormats = ['f16', ...quantisedFormats] as const satisfies readonly WeightFormat[]

/** Raises 'options/invalid'. */
export function checkWeightFormat(weights: string | undefined): void {
  if (weights === undefined || weightFormats.some((format) => format === weights)) return
  throw new PhospheneError({
    code: 'options/invalid',
    message: `weights is ${JSON.stringify(weights)}`,
    fix: `Use one of: ${weightFormats.join(', ')}.`,
  })
}
