// Time estimates of the three transforms, in the units of matmul/cost.ts.
import type { Capabilities } from '../family.ts'
import { linearSteps } from './linear.ts'
import { bestTransforms, type Matrix } from './matrices.ts'
import type { Part, WinogradProblem } from './problem.ts'

/** vec4 loaded, stored and computed by one invocation that does a whole tile. */
interface Work {
  readonly loads: number
  readonly stores: number
  readonly operations: number
  /** Results that pass through bias and epilogue. */
  readonly finished: number
}

/** Multiplications and additions of one application of the matrix. */
function operations(matrix: Matrix): number {
  const steps = linearSteps(
    matrix,
    matrix[0]!.map((_, k) => `x${k}`),
    matrix.map((_, i) => `y${i}`),
  )
  const terms = steps.flatMap((step) => step.terms)
  return terms.length - steps.length + terms.filter(([c]) => Math.abs(c) !== 1).length
}

function nanoseconds(
  kind: Capabilities['kind'],
  invocations: number,
  { loads, stores, operations, finished }: Work,
): number {
  // SwiftShader on two cores, by CPU time on the starter's shapes, within 30 %.
  if (kind === 'software') return (invocations * ((loads + stores) * 18 + operations * 2.5 + finished * 52)) / 2
  // A large GPU: all of it is waiting for memory, at 2 TB/s, and for the dispatch.
  return 3000 + (invocations * (loads + stores) * 16) / 2000
}

/** By t: operations of Bᵀ, G and Aᵀ. */
const counts = new Map(
  Object.values(bestTransforms).map(({ t, bt, g, at }) => [
    t,
    { inputs: operations(bt), weights: operations(g), results: operations(at) },
  ]),
)

/** Nanoseconds of each transform of a part. */
export function transformCosts(
  kind: Capabilities['kind'],
  { m, t, c4 }: WinogradProblem,
  { tiles, groups }: Part,
): { readonly inputs: number; readonly weights: number; readonly results: number } {
  const { inputs, weights, results } = counts.get(t)!
  return {
    inputs: nanoseconds(kind, tiles * c4, { loads: t * t, stores: t * t, operations: 2 * t * inputs, finished: 0 }),
    weights: nanoseconds(kind, c4 * 4 * groups, {
      loads: 9,
      stores: t * t,
      operations: (3 + t) * weights,
      finished: 0,
    }),
    results: nanoseconds(kind, tiles * groups, {
      loads: t * t,
      stores: m * m,
      operations: (t + m) * results,
      finished: m * m,
    }),
  }
}
