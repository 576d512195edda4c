// Which values need no memory of their own: reshapes and aligned slices are views of what they are taken from.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { SliceAttrs } from '../ops/attrs.ts'
import { rowLayout } from './layout.ts'

/** A value as a part of a base tensor's rows (see Operand in kernels/family.ts). */
export interface View {
  readonly base: Value
  readonly stride4: number
  readonly offset4: number
}

function whole(value: Value): View {
  return { base: value, stride4: rowLayout(value.shape).groups4, offset4: 0 }
}

/** Whether the node moves no data: it is then no step of the plan. */
function isView(node: Node): boolean {
  if (node.epilogue) return false
  if (node.op.name === 'reshape') return true
  if (node.op.name !== 'slice') return false
  const { start, end } = node.attrs as SliceAttrs
  // Channels beyond the last must be zero in storage, so a slice that ends inside a group has to be copied.
  return start % 4 === 0 && (end % 4 === 0 || end === node.inputs[0]!.shape.at(-1))
}

/** The view of every value of the graph, and the nodes that remain as steps, in order. */
export function resolveViews(graph: Graph): { views: ReadonlyMap<Value, View>; steps: readonly Node[] } {
  const views = new Map<Value, View>()
  const viewOf = (value: Value): View => {
    const known = views.get(value)
    if (known) return known
    const view = whole(value)
    views.set(value, view)
    return view
  }
  const steps: Node[] = []
  for (const node of graph.nodes) {
    for (const value of node.inputs) viewOf(value)
    for (const value of node.epilogue?.inputs ?? []) viewOf(value)
    if (!isView(node)) {
      steps.push(node)
      viewOf(node.output)
      continue
    }
    const from = viewOf(node.inputs[0]!)
    const start = node.op.name === 'slice' ? (node.attrs as SliceAttrs).start : 0
    views.set(node.output, { ...from, offset4: from.offset4 + start / 4 })
  }
  return { views, steps }
}
