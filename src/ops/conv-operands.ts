// Which of a convolution's operands is which: x and weight always, a bias where there is one, and last what x is normalised by.
import type { Conv2dAttrs } from './attrs.ts'

export interface ConvOperands<T> {
  readonly x: T
  readonly weight: T
  readonly bias: T | undefined
  readonly norm: { readonly moments: T; readonly beta: T } | undefined
}

/** Operands that belong to `normalised`. */
const ofNorm = 2

export function convOperands<T>(inputs: readonly T[], { normalised }: Conv2dAttrs): ConvOperands<T> {
  const plain = normalised ? inputs.slice(0, -ofNorm) : inputs
  const [x, weight, bias] = plain as readonly [T, T, T?]
  if (!normalised) return { x, weight, bias, norm: undefined }
  const [moments, beta] = inputs.slice(-ofNorm) as [T, T]
  return { x, weight, bias, norm: { moments, beta } }
}
