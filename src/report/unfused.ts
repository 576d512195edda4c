// What remains between the large kernels (products, convolutions, attention) after fusion: the steps that only move or rescale
// what others computed, with the bytes that they cost and the reason why they stand alone.
import type { Node, Value } from '../graph/graph.ts'
import { sameShape } from '../ops/shapes.ts'
import { epilogueProducers, maxEpilogueInputs } from '../passes/fuse-epilogue.ts'
import { countUses } from '../passes/rewrite.ts'
import type { Plan } from '../plan/plan.ts'
import { isAligned, isJoin } from '../plan/views.ts'

export interface Unfused {
  readonly op: string
  readonly variant: string
  readonly scope: string
  readonly shape: readonly number[]
  /** Read and written by the step. */
  readonly bytes: number
  readonly dispatches: number
  /** The large kernels before and behind it, by scope. */
  readonly after: readonly string[]
  readonly before: readonly string[]
  readonly reason: string
}

/** The steps of a plan that do no multiply-adds, in their order. */
export function unfusedSteps(plan: Plan): Unfused[] {
  const large = new Set(plan.steps.filter((step) => step.macs > 0).map((step) => step.node))
  const readers = new Map<Value, Node[]>()
  for (const node of plan.graph.nodes)
    for (const value of operandsOf(node)) readers.set(value, [...(readers.get(value) ?? []), node])
  const uses = countUses(plan.graph)
  return plan.steps
    .filter((step) => step.macs === 0)
    .map(({ node, variant, bytesMoved, dispatches }) => ({
      op: node.op.name,
      variant,
      scope: node.scope,
      shape: node.output.shape,
      bytes: bytesMoved,
      dispatches: dispatches.length,
      after: nearest(node, large, (each) => operandsOf(each).flatMap((value) => value.node ?? [])),
      before: nearest(node, large, (each) => readers.get(each.output) ?? []),
      reason: reasonOf(node, uses),
    }))
}

function operandsOf(node: Node): readonly Value[] {
  return [...node.inputs, ...(node.epilogue?.inputs ?? [])]
}

/** Scopes of the first large kernels in one direction. */
function nearest(from: Node, large: ReadonlySet<Node>, next: (node: Node) => readonly Node[]): string[] {
  const found = new Set<string>()
  const seen = new Set<Node>([from])
  const queue = [...next(from)]
  for (const node of queue) {
    if (seen.has(node)) continue
    seen.add(node)
    if (large.has(node)) found.add(node.scope)
    else queue.push(...next(node))
  }
  return [...found]
}

/** By op; a pointwise node's depends on its neighbours. */
const reasons: Readonly<Record<string, string>> = {
  groupNorm:
    'the first value needs the mean and variance of a whole group, which the kernel before it does not sum up; no kernel behind it normalises what it loads',
  layerNorm:
    'the first value needs the mean and variance of a whole row, which the kernel before it spreads over workgroups; it has few rows, or what reads it is no product that normalises what it loads',
  rowMoments:
    'the product behind it normalises what it loads, by the mean and variance of whole rows, which the kernel before it spreads over workgroups',
  upsample:
    'it is no doubling, or not only a convolution of several pixels reads it: these alone double what they read',
  slice: 'the slice does not begin or end at a group of four channels, so it cannot be a view',
  embedding: 'rows are gathered by token before anything is computed',
}

function reasonOf(node: Node, uses: ReadonlyMap<Value, number>): string {
  if (node.op.name === 'pointwise') return pointwiseReason(node, uses)
  if (isJoin(node))
    return isAligned(node)
      ? 'made in their places in it, the parts would raise the peak of memory; or they have a place in another join, or are inputs'
      : 'a part ends inside a group of four channels, so what follows it cannot be made in its place'
  return reasons[node.op.name] ?? 'no pass fuses this op'
}

/** The rules of passes/fuse-epilogue.ts, held against each operand. */
function pointwiseReason(node: Node, uses: ReadonlyMap<Value, number>): string {
  const obstacles = node.inputs.map((value) => {
    const producer = value.node
    if (!producer)
      return `${value.name} is ${value.origin === 'input' ? 'an input' : 'a weight'}, which no kernel makes`
    if (!epilogueProducers.has(producer.op.name)) return `kernels of ${producer.op.name} take no epilogue`
    if ((uses.get(value) ?? 0) > 1) return `the result of ${producer.scope} is read elsewhere too`
    if (!sameShape(value.shape, node.output.shape))
      return `${producer.scope} makes fewer values, which would be computed anew for each place`
    return `${producer.scope} would bind more than ${maxEpilogueInputs} tensors in its epilogue`
  })
  return [...new Set(obstacles)].join('; ')
}
