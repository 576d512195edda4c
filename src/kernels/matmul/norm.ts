// A product whose left operand is normalised as it is loaded: x → (x − mean) · scale · gamma + beta, in f32, with the rows' mean
// and scale at hand (`normalised` of ops/attrs.ts). The mean comes off first, so nothing cancels; gamma and beta are zero in the
// channels beyond the last, and so is what comes out.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import { matmulOperands } from '../../ops/matmul-operands.ts'
import type { Operand, Request } from '../family.ts'

export function normOf({ inputs, attrs }: Request<MatmulAttrs>) {
  return matmulOperands<Operand>(inputs, attrs).norm
}

/** The names of a product's inputs in its text, in their order. */
export function matmulNames({ inputs, attrs }: Request<MatmulAttrs>): readonly string[] {
  const names = matmulOperands<Operand>(inputs, attrs).bias ? ['a', 'b', 'bias'] : ['a', 'b']
  return attrs.normalised ? [...names, 'moments', 'gamma', 'beta'] : names
}

const summed: ReadonlySet<string> = new Set(['a', 'b', 'moments', 'gamma', 'beta'])

/** Whether sums are made of the operand: all others meet the finished ones. */
export function isSummed({ name }: { readonly name: string }): boolean {
  return summed.has(name)
}

/** Statements for kernels that load a as vec4s: what a row and a group of channels have in common is declared once. */
export interface NormText {
  /** Of the row `row`, an expression, under the number r. */
  row(r: number, row: string): string
  /** Of the channels of group `group`. */
  channels(group: string): string
  /** The element of row r at those channels. */
  value(r: number, element: string): string
}

export function normText(request: Request<MatmulAttrs>): NormText | undefined {
  if (!request.attrs.normalised) return undefined
  return {
    row: (r, row) => `let moments${r} = load_moments(${row}, 0u);`,
    channels: (group) => `let gamma = at_gamma(${group}); let beta = at_beta(${group});`,
    value: (r, element) => `(${element} - moments${r}.x) * moments${r}.y * gamma + beta`,
  }
}

/** Loads of vec4 that it takes in a step beside those of a and b. */
export function normLoads({ attrs }: Request<MatmulAttrs>): number {
  return attrs.normalised ? 2 : 0
}
