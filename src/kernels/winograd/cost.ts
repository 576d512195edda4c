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
  // A large GPU: all of it is waiting for memory, at 2 TB/s.
  return (invocations * (loads + stores) * 16) / 2000
}

/** Of a dispatch that has nothing to do. */
export const dispatchNs: Readonly<Record<Capabilities['kind'], number>> = { software: 0, gpu: 3000 }

/** By t: operations of Bᵀ, G and Aᵀ. */
const counts = new Map(
  Object.values(bestTransforms).map(({ t, bt, g, at }) => [
    t,
    { inputs: operations(bt), weights: operations(g), results: operations(at) },
  ]),
)

/** Nanoseconds of each transform of a part, and of adding its products to those of an earlier depth. */
export type TransformCosts = Readonly<Record<'inputs' | 'weights' | 'results' | 'sums', number>>

export function transformCosts(
  kind: Capabilities['kind'],
  { m, t, across, positions }: WinogradProblem,
  { tiles, groups, depth }: Part,
): TransformCosts {
  const [down, right] = [counts.get(t)!, counts.get(across.t)!]
  const all = { loads: positions, stores: positions, operations: 0, finished: 0 }
  const transform = (invocations: number, work: Work) => dispatchNs[kind] + nanoseconds(kind, invocations, work)
  return {
    inputs: transform(tiles * depth, { ...all, operations: across.t * down.inputs + t * right.inputs }),
    weights: transform(depth * 4 * groups, { ...all, loads: 9, operations: 3 * down.weights + t * right.weights }),
    results: transform(tiles * groups, {
      ...all,
      stores: m * across.m,
      operations: across.t * down.results + m * right.results,
      finished: m * across.m,
    }),
    sums: nanoseconds(kind, tiles * groups, all),
  }
}
