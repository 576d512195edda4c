// Cuts a graph into pieces that run one after the other: ONNX Runtime blocks the event loop while it runs, so Ctrl-C
// and progress are only seen between pieces.
import type { Graph, Node, Value } from '../../graph/graph.ts'
import { elementCount } from '../../ops/shapes.ts'

export interface Segment {
  readonly nodes: readonly Node[]
  /** Graph inputs and results of earlier segments that the nodes use. */
  readonly inputs: readonly Value[]
  /** Results that later segments or the caller use. */
  readonly outputs: readonly Value[]
  readonly params: readonly Value[]
}

function operandsOf(node: Node): readonly Value[] {
  return node.epilogue ? [...node.inputs, ...node.epilogue.inputs] : node.inputs
}

/** The position of each value's last use; `nodes.length` for what the graph returns. */
function lastUses(graph: Graph): Map<Value, number> {
  const last = new Map<Value, number>()
  graph.nodes.forEach((node, i) => {
    for (const value of operandsOf(node)) last.set(value, i)
  })
  for (const value of graph.outputs.values()) last.set(value, graph.nodes.length)
  return last
}

/**
 * Cuts after about every `macs` multiply-adds, where the fewest elements cross: within a quarter of the budget around
 * the mark. A single node may exceed the budget.
 */
export function cutGraph(graph: Graph, macs: number): Segment[] {
  const last = lastUses(graph)
  const { nodes } = graph
  const crossing: number[] = [] // elements alive after node i
  const done: number[] = [] // multiply-adds up to and with node i
  let [live, sum] = [0, 0]
  const dying = new Map<number, number>()
  nodes.forEach((node, i) => {
    const until = last.get(node.output) ?? i
    const size = elementCount(node.output.shape)
    live += size
    dying.set(until, (dying.get(until) ?? 0) + size)
    live -= dying.get(i) ?? 0
    sum += node.op.cost(node.inputs, node.attrs as never, node.output).macs
    crossing.push(live)
    done.push(sum)
  })
  const segments: Segment[] = []
  let start = 0
  while (start < nodes.length) {
    const before = start === 0 ? 0 : done[start - 1]!
    let [end, fewest] = [nodes.length - 1, Number.POSITIVE_INFINITY]
    if (sum - before > 1.25 * macs)
      for (let i = start; i < nodes.length; i++) {
        const spent = done[i]! - before
        if (spent < 0.75 * macs) continue
        if (spent > 1.25 * macs && fewest < Number.POSITIVE_INFINITY) break
        if (crossing[i]! < fewest) [end, fewest] = [i, crossing[i]!]
      }
    segments.push(segmentOf(nodes, start, end, last))
    start = end + 1
  }
  return segments
}

function segmentOf(nodes: readonly Node[], start: number, end: number, last: ReadonlyMap<Value, number>): Segment {
  const own = nodes.slice(start, end + 1)
  const made = new Set(own.map((node) => node.output))
  const used = new Set(own.flatMap(operandsOf))
  const foreign = [...used].filter((value) => !made.has(value))
  return {
    nodes: own,
    inputs: foreign.filter((value) => value.origin === 'input' || value.origin === 'node'),
    outputs: [...made].filter((value) => (last.get(value) ?? -1) > end),
    params: foreign.filter((value) => value.origin === 'param'),
  }
}
