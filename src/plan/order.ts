// Chooses the order of execution, and which results are made in their place in a join, so that the peak of memory is low.
// A local search from the model's own order: what frees memory is moved before the peak, what need not be there yet behind it.
import type { Graph, Node, Value } from '../graph/graph.ts'
import { type Memory, memoryOf } from './memory.ts'
import { isJoin, joinable, operandsOf, resolveViews, type Views } from './views.ts'

/** Graphs of more steps were ordered by whoever made them so long: bands of rows. */
const searchedSteps = 1500
const rounds = 40

/** The memory plan of a graph: rows are always joined in place, channels where the peak is not raised by it. */
export function chooseMemory(graph: Graph, bytesOf: (base: Value) => number): Memory {
  const inPlace = new Map<Value, Node>()
  for (const node of graph.nodes)
    if (node.op.name === 'joinRows')
      for (const value of joinable(node)) if (!inPlace.has(value)) inPlace.set(value, node)
  let views = resolveViews(graph, inPlace)
  let best = memoryOf(graph, views, bytesOf)(views.steps)
  if (views.steps.length > searchedSteps) return best
  best = improveOrder(graph, best, bytesOf)
  for (const join of graph.nodes) {
    if (join.op.name !== 'concat' || !isJoin(join)) continue
    // The part that is made last: kept for the others as well, their places would take room from kernels' scratch for long.
    for (const value of joinable(join)
      .toSorted((a, b) => b.id - a.id)
      .slice(0, 1)) {
      if (inPlace.has(value)) continue
      const tried = new Map(inPlace).set(value, join)
      views = resolveViews(graph, tried)
      const kept = new Set(views.steps)
      const memory = memoryOf(graph, views, bytesOf)(best.steps.filter((node) => kept.has(node)))
      if (memory.peakBytes > best.peakBytes) continue
      inPlace.set(value, join)
      best = memory
    }
  }
  return improveOrder(graph, best, bytesOf)
}

function improveOrder(graph: Graph, start: Memory, bytesOf: (base: Value) => number): Memory {
  const measure = memoryOf(graph, start.views, bytesOf)
  const before = dependencies(start.views, start.steps)
  let best = start
  for (let round = 0; round < rounds; round++) {
    const better = moves(best, before)
      .map(measure)
      .reduce((a, b) => (isLower(b, a) ? b : a), best)
    if (better === best) break
    best = better
  }
  return best
}

/** A lower peak, or as high a one at fewer steps. */
function isLower(a: Memory, b: Memory): boolean {
  if (a.peakBytes !== b.peakBytes) return a.peakBytes < b.peakBytes
  const atPeak = ({ live, peakBytes }: Memory) => live.filter((bytes) => bytes === peakBytes).length
  return atPeak(a) < atPeak(b)
}

/** Orders with one step moved across the peak: a reader of what is alive there to before it, a maker to behind it. */
function moves({ steps, live, peakBytes, lifetimes, ownerOf }: Memory, before: Dependencies): Node[][] {
  const peak = live.indexOf(peakBytes)
  const place = new Map(steps.map((node, i) => [node, i]))
  const orders: Node[][] = []
  const move = (from: number, to: number): void => {
    const order = steps.toSpliced(from, 1)
    order.splice(to, 0, steps[from]!)
    orders.push(order)
  }
  const firstReader = new Map<Node, number>()
  for (const [i, node] of steps.entries())
    for (const maker of before.get(node)!) if (!firstReader.has(maker)) firstReader.set(maker, i)
  for (const [i, node] of steps.entries()) {
    if (i < peak && (firstReader.get(node) ?? i) > peak) move(i, peak)
    if (i <= peak) continue
    const ready = Math.max(-1, ...[...before.get(node)!].map((maker) => place.get(maker)!)) + 1
    const frees = operandsOf(node).some((value) => {
      const lifetime = lifetimes.get(ownerOf(value))
      return lifetime !== undefined && lifetime.first < peak && lifetime.last === i
    })
    if (ready <= peak && frees) move(i, peak)
  }
  return orders
}

type Dependencies = ReadonlyMap<Node, ReadonlySet<Node>>

/** For each step the steps that make what it reads. */
function dependencies({ steps }: Views, order: readonly Node[]): Dependencies {
  const isStep = new Set(steps)
  const makers = (value: Value, into: Set<Node>): Set<Node> => {
    const { node } = value
    if (node && isStep.has(node)) into.add(node)
    if (node && (!isStep.has(node) || isJoin(node))) for (const input of node.inputs) makers(input, into)
    return into
  }
  return new Map(
    order.map((node) => {
      const into = new Set<Node>()
      for (const value of operandsOf(node)) makers(value, into)
      return [node, into]
    }),
  )
}
