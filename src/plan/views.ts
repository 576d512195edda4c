// Values that are parts of others' memory: reshapes, slices, and results that are made in their place in a join.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { SliceAttrs } from '../ops/attrs.ts'
import { elementCount } from '../ops/shapes.ts'
import { rowLayout } from './layout.ts'

/** A value as a part of a base tensor's rows (see Operand in kernels/family.ts). */
export interface View {
  readonly base: Value
  readonly stride4: number
  readonly offset4: number
}

/** What a node reads: its inputs and its epilogue's. */
export function operandsOf({ inputs, epilogue }: Node): readonly Value[] {
  return epilogue ? [...inputs, ...epilogue.inputs] : inputs
}

export function isJoin(node: Node): boolean {
  return node.op.name === 'joinRows' || (node.op.name === 'concat' && !node.epilogue)
}

/** Where each input of a join lies in its result, in the result's own layout. */
export function partsOf(join: Node): readonly { readonly value: Value; readonly offset4: number }[] {
  const rows = join.op.name === 'joinRows'
  const { groups4 } = rowLayout(join.output.shape)
  let at = 0
  return join.inputs.map((value) => {
    const offset4 = at
    at += rows ? rowLayout(value.shape).rows * groups4 : value.shape.at(-1)! / 4
    return { value, offset4 }
  })
}

/** Whether the parts of a join begin at whole groups of four channels. */
export function isAligned(join: Node): boolean {
  return join.op.name === 'joinRows' || join.inputs.slice(0, -1).every(({ shape }) => shape.at(-1)! % 4 === 0)
}

/** Whether the node moves no data: it is then no step of the plan. */
function isView(node: Node): boolean {
  if (node.epilogue) return false
  if (node.op.name === 'reshape' || node.op.name === 'sliceRows') return true
  if (node.op.name !== 'slice') return false
  const { start, end } = node.attrs as SliceAttrs
  // Channels beyond the last must be zero in storage, so a slice that ends inside a group has to be copied.
  return start % 4 === 0 && (end % 4 === 0 || end === node.inputs[0]!.shape.at(-1))
}

/** Groups of four channels between the start of a view's input and the view. */
function viewOffset4({ op, attrs, inputs }: Node, stride4: number): number {
  const { start } = attrs as SliceAttrs
  if (op.name === 'slice') return start / 4
  return op.name === 'sliceRows' ? start * elementCount(inputs[0]!.shape.slice(2, -1)) * stride4 : 0
}

/** How the values of a graph share memory, whoever comes first. */
export interface Views {
  readonly of: ReadonlyMap<Value, View>
  /** The nodes that are steps of a plan, in the graph's order. Joins all of whose parts are made in place are none. */
  readonly steps: readonly Node[]
}

/** `inPlace`: for each result that is made in its place in a join, that join. See `joinable`. */
export function resolveViews(graph: Graph, inPlace: ReadonlyMap<Value, Node> = new Map()): Views {
  const of = new Map<Value, View>()
  const ownView = (value: Value): View => {
    const join = inPlace.get(value)
    const { groups4 } = rowLayout(value.shape)
    if (!join) return { base: value, stride4: groups4, offset4: 0 }
    const whole = viewOf(join.output)
    const part = partsOf(join).find((each) => underlying(each.value) === value)!
    // A place in the join's own layout is (row, group); its base's rows may be wider.
    const own = rowLayout(join.output.shape).groups4
    const row = Math.floor(part.offset4 / own)
    return { ...whole, offset4: whole.offset4 + row * whole.stride4 + (part.offset4 % own) }
  }
  const viewOf = (value: Value): View => {
    const known = of.get(value)
    if (known) return known
    const { node } = value
    let view: View
    if (node && isView(node)) {
      const from = viewOf(node.inputs[0]!)
      view = { ...from, offset4: from.offset4 + viewOffset4(node, from.stride4) }
    } else view = ownView(value)
    of.set(value, view)
    return view
  }
  const steps: Node[] = []
  for (const node of graph.nodes) {
    for (const value of operandsOf(node)) viewOf(value)
    viewOf(node.output)
    if (isView(node)) continue
    if (isJoin(node) && node.inputs.every((value) => inPlace.get(underlying(value)) === node)) continue
    steps.push(node)
  }
  return { of, steps }
}

/** The value whose memory a reshape shows as it is; slices and all others are their own. */
function underlying(value: Value): Value {
  const { node } = value
  return node?.op.name === 'reshape' && !node.epilogue ? underlying(node.inputs[0]!) : value
}

/**
 * The results that could be made in their place in `join`: whole values of nodes that move data, each once.
 */
export function joinable(join: Node): readonly Value[] {
  if (!isAligned(join)) return []
  const parts = join.inputs.map(underlying)
  return parts.filter(
    (value, i) => value.node && !isView(value.node) && parts.indexOf(value) === i && parts.lastIndexOf(value) === i,
  )
}
