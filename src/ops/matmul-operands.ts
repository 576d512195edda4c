// Which of a product's operands is which: a and b always, a bias where there is one, and last what a is normalised by.
import type { MatmulAttrs } from './attrs.ts'

export interface MatmulOperands<T> {
  readonly a: T
  readonly b: T
  readonly bias: T | undefined
  readonly norm: { readonly moments: T; readonly gamma: T; readonly beta: T } | undefined
}

/** Operands that belong to `normalised`. */
const ofNorm = 3

export function matmulOperands<T>(inputs: readonly T[], { normalised }: MatmulAttrs): MatmulOperands<T> {
  const plain = normalised ? inputs.slice(0, -ofNorm) : inputs
  const [a, b, bias] = plain as readonly [T, T, T?]
  if (!normalised) return { a, b, bias, norm: undefined }
  const [moments, gamma, beta] = inputs.slice(-ofNorm) as [T, T, T]
  return { a, b, bias, norm: { moments, gamma, beta } }
}
