// Which nodes of a graph are computed in bands of rows, and which of their results are more than a step on the way.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { Shape } from '../graph/op.ts'

export interface Division {
  /** Nodes that are computed in bands. All others see whole images. */
  readonly divided: ReadonlySet<Node>
  /**
   * Results of divided nodes that are kept in bands or computed anew for each pass over them. What is no part of this is
   * computed where its reader asks for it: norms, pointwise functions, enlargements, and convolutions right before an addition.
   */
  readonly kept: ReadonlySet<Value>
  /** Of those: what whole images are read of, or what the graph returns. They have to be stored. */
  readonly whole: ReadonlySet<Value>
}

/** Elements of an image as it is stored: channels in groups of four. */
export function storedElements(shape: Shape): number {
  return shape.slice(0, -1).reduce((product, size) => product * size, 1) * Math.ceil(shape.at(-1)! / 4) * 4
}

/** Whether rows of the value can be had alone: one image of several rows. */
export const isImage = ({ shape }: Value): boolean => shape.length === 4 && shape[0] === 1 && shape[1]! > 1

/** The inputs that a node reads row by row: for some of its rows it wants some of theirs. */
export function rowInputs({ op, inputs, output }: Node): readonly Value[] {
  if (op.name !== 'pointwise' && op.name !== 'concat') return inputs.slice(0, 1)
  return inputs.filter(({ shape }) => shape.length === 4 && shape[1] === output.shape[1])
}

/** Whether rows of the node's result can be computed from rows of its inputs. */
function isDivisible(node: Node): boolean {
  const { op, inputs, output, epilogue } = node
  const rows = rowInputs(node)
  if (epilogue || !isImage(output) || rows.length === 0 || !rows.every(isImage)) return false
  switch (op.name) {
    case 'conv2d':
    case 'groupNorm':
    case 'slice':
      return true
    case 'concat':
      return rows.length === inputs.length
    case 'pointwise':
      return inputs.every((value) => rows.includes(value) || value.shape.length < 4 || value.shape[1] === 1)
    case 'upsample':
      return output.shape[1]! % inputs[0]!.shape[1]! === 0
    default:
      return false
  }
}

/** Divides what makes or reads images of more than `largest` elements, and what is only made for that. */
export function divideGraph(graph: Graph, largest: number): Division {
  const readers = new Map<Value, Node[]>()
  for (const node of graph.nodes)
    for (const value of new Set(node.inputs)) readers.set(value, [...(readers.get(value) ?? []), node])
  const returned = new Set(graph.outputs.values())

  const kept = new Set<Value>()
  const heavy = new Set<Value>() // what costs products to compute again
  for (const node of graph.nodes) {
    const { output } = node
    const costly = node.op.name === 'conv2d' || rowInputs(node).some((value) => heavy.has(value) && !kept.has(value))
    if (costly) heavy.add(output)
    const [reader, ...others] = readers.get(output) ?? []
    const passesOn = others.length === 0 && reader?.op.name === 'pointwise'
    const isNormed = [reader, ...others].some((each) => each?.op.name === 'groupNorm')
    if (returned.has(output) || isNormed || (costly && !passesOn)) kept.add(output)
  }

  const large = (node: Node) =>
    isDivisible(node) && [...rowInputs(node), node.output].some(({ shape }) => storedElements(shape) > largest)
  const divided = new Set<Node>()
  for (const node of graph.nodes.toReversed()) {
    const isWanted = (reader: Node) => large(reader) || (divided.has(reader) && !kept.has(node.output))
    if (isDivisible(node) && (large(node) || readers.get(node.output)?.some(isWanted))) divided.add(node)
  }

  const whole = new Set<Value>()
  for (const { output } of divided)
    if (returned.has(output) || readers.get(output)?.some((reader) => !divided.has(reader))) whole.add(output)
  return { divided, kept: new Set([...kept, ...whole].filter(({ node }) => node && divided.has(node))), whole }
}
