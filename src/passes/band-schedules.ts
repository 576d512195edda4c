// Which images to store and which to compute anew: schedules for row bands, from the one that stores all to the one that
// needs the least memory. What they cost and need is estimated here; a plan tells exactly.
import type { Graph, Node, Value } from '../graph/graph.ts'
import { type Division, divideGraph, rowInputs, storedElements } from './band-division.ts'
import type { BandSchedule } from './row-bands.ts'

export interface EstimatedSchedule extends Omit<BandSchedule, 'rows'> {
  /** Multiply-adds of the whole graph. */
  readonly macs: number
  /** Elements of stored images that live at the same time, at most; what streams need comes on top. */
  readonly storedElements: number
}

/**
 * Schedules in the order of their multiply-adds, fewest first, without those that cost more than one that needs no more memory.
 * Empty where the graph has no image that could be divided.
 */
export function bandSchedules(graph: Graph): readonly EstimatedSchedule[] {
  const most = graph.nodes.reduce((sum, { output }) => Math.max(sum, storedElements(output.shape)), 0)
  const found = new Map<string, EstimatedSchedule>()
  for (let room = 4 * most; room > most / 64; room *= 0.93) {
    const division = divideGraph(graph, room / 4)
    if (division.divided.size === 0) continue
    const { stored, peak } = chooseStored(graph, division, room)
    const key = [...stored, ...[...division.divided].map(({ output }) => output)].map(({ id }) => id).join()
    if (found.has(key)) continue
    found.set(key, { ...division, stored, storedElements: peak, macs: macsOf(graph, division, stored) })
  }
  const all = [...found.values()].sort((a, b) => a.macs - b.macs)
  return all.filter(
    (each) => !all.some((other) => other.macs < each.macs && other.storedElements <= each.storedElements),
  )
}

/** Stores each kept value for which there is room beside what must stay, in order. */
function chooseStored(
  graph: Graph,
  { divided, kept, whole }: Division,
  room: number,
): { readonly stored: ReadonlySet<Value>; readonly peak: number } {
  const stored = new Set<Value>()
  const isThere = (value: Value): boolean => !value.node || !divided.has(value.node) || stored.has(value)
  const size = ({ shape }: Value) => storedElements(shape)
  let peak = 0
  graph.nodes.forEach((node, i) => {
    const { output } = node
    const isBand = divided.has(node)
    if (isBand && !kept.has(output)) return
    const alive = needed(graph.nodes.slice(i), isThere)
    const later = graph.nodes.slice(i + 1)
    const after = needed(later, (value) => value === output || isThere(value))
    for (const value of graph.outputs.values()) if (isThere(value) || value === output) after.add(value)
    let [staying, dying, dyingAtOnce] = [0, 0, 0]
    for (const value of new Set([...alive, ...after])) {
      if (value === output || !value.node) continue
      if (after.has(value)) staying += size(value)
      else if (isBand && divided.has(value.node)) dying += size(value)
      else dyingAtOnce += size(value)
    }
    const live = staying + dyingAtOnce + Math.max(dying, size(output))
    if (isBand && !whole.has(output) && live > room) return
    if (isBand) stored.add(output)
    peak = Math.max(peak, live)
  })
  return { stored, peak }
}

/** Values for which `isThere` holds that the nodes need, directly or through others. */
function needed(nodes: readonly Node[], isThere: (value: Value) => boolean): Set<Value> {
  const found = new Set<Value>()
  const seen = new Set<Value>()
  const visit = (value: Value): void => {
    if (seen.has(value) || value.origin === 'param' || value.origin === 'constant') return
    seen.add(value)
    if (isThere(value)) found.add(value)
    else for (const input of value.node!.inputs) visit(input)
  }
  const made = new Set(nodes.map(({ output }) => output))
  for (const { inputs } of nodes) for (const value of inputs) if (!made.has(value)) visit(value)
  return found
}

/** Multiply-adds when streams are computed once for each pass that takes them along. */
function macsOf(graph: Graph, { divided, kept }: Division, stored: ReadonlySet<Value>): number {
  const normed = new Set(
    graph.nodes.filter((node) => divided.has(node) && node.op.name === 'groupNorm').map(({ inputs }) => inputs[0]!),
  )
  const own = ({ op, inputs, attrs, output }: Node) => op.cost(inputs, attrs as never, output).macs
  /** A pass for `value`: streams on the way are computed once. */
  const pass = (value: Value, seen = new Set<Value>()): number => {
    const { node } = value
    if (!node || !divided.has(node) || seen.has(value)) return 0
    seen.add(value)
    return own(node) + rowInputs(node).reduce((sum, x) => sum + (stored.has(x) ? 0 : pass(x, seen)), 0)
  }
  let macs = 0
  for (const node of graph.nodes) {
    if (!divided.has(node)) macs += own(node)
    else if (kept.has(node.output) && (stored.has(node.output) || normed.has(node.output))) macs += pass(node.output)
  }
  return macs
}
