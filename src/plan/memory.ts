// Who owns which memory, and between which steps: what an order of execution and a choice of views cost.
import type { Graph, Node, Value } from '../graph/graph.ts'
import { accessesOf, type StepAccesses } from './accesses.ts'
import { reuseInPlace } from './in-place.ts'
import type { Views } from './views.ts'

export interface Memory {
  readonly steps: readonly Node[]
  readonly views: Views
  /** The base value whose memory a value lies in. */
  ownerOf(value: Value): Value
  /** First and last step of each owner that the plan places. What the graph returns lives until `steps.length`. */
  readonly lifetimes: ReadonlyMap<Value, { first: number; last: number }>
  /** Bytes alive at each step, without kernels' scratch. */
  readonly live: readonly number[]
  readonly peakBytes: number
}

/** Measures the memory that views and orders take, for one graph and storage. */
export function memoryOf(
  graph: Graph,
  views: Views,
  bytesOf: (base: Value) => number,
): (order: readonly Node[]) => Memory {
  const accesses = new Map<Node, StepAccesses>(views.steps.map((node) => [node, accessesOf(node, views)]))
  return (steps) => {
    const timed = steps.map((node) => accesses.get(node)!)
    const owners = reuseInPlace(graph, timed, views)
    const ownerOf = (value: Value): Value => {
      const { base } = views.of.get(value)!
      return owners.get(base) ?? base
    }
    const lifetimes = new Map<Value, { first: number; last: number }>()
    const touch = (owner: Value, step: number): void => {
      if (owner.origin !== 'node') return
      const known = lifetimes.get(owner)
      if (!known) lifetimes.set(owner, { first: step, last: step })
      else known.last = step
    }
    timed.forEach(({ reads, writes }, step) => {
      for (const { base } of [...reads, ...writes]) touch(owners.get(base) ?? base, step)
    })
    for (const value of graph.outputs.values()) touch(ownerOf(value), steps.length)
    const live = liveBytes(lifetimes, steps.length, bytesOf)
    return { steps, views, ownerOf, lifetimes, live, peakBytes: live.reduce((a, b) => Math.max(a, b), 0) }
  }
}

function liveBytes(lifetimes: Memory['lifetimes'], steps: number, bytesOf: (base: Value) => number): number[] {
  const changes = new Float64Array(steps + 2)
  for (const [owner, { first, last }] of lifetimes) {
    const bytes = bytesOf(owner)
    changes[first]! += bytes
    changes[last + 1]! -= bytes
  }
  const live: number[] = []
  let sum = 0
  for (let step = 0; step < steps; step++) {
    sum += changes[step]!
    live.push(sum)
  }
  return live
}
