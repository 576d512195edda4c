// Cuts a graph in two: what depends on held inputs alone is computed once, by a graph of its own (the prelude), and the rest
// takes its results as inputs. Views of those results stay with the rest, where they cost nothing.
import { Graph, type Node, type Value } from '../graph/graph.ts'
import { heldValues, operandsOf } from './held.ts'
import { stem } from './rewrite.ts'

export interface Parts {
  /** Takes the other inputs, the held ones that it reads itself, and the prelude's outputs under their names. */
  readonly graph: Graph
  /** Takes held inputs. Undefined where nothing depends on them alone. */
  readonly prelude?: Graph | undefined
}

const isView = ({ op, epilogue }: Node): boolean => !epilogue && (op.name === 'reshape' || op.name === 'slice')

/** `graph` itself stays as it is. @param held names of inputs; names that are none of this graph's are passed over */
export function splitPrelude(graph: Graph, held: readonly string[]): Parts {
  const before = heldValues(graph, held)
  const crossing = new Set<Value>()
  const viewed = new Set<Node>()
  const cross = (value: Value): void => {
    const { node } = value
    if (!node || !before.has(value)) return
    if (!isView(node)) crossing.add(value)
    else if (!viewed.has(node)) {
      viewed.add(node)
      for (const input of node.inputs) cross(input)
    }
  }
  for (const node of graph.nodes) if (!before.has(node.output)) operandsOf(node).forEach(cross)
  for (const value of graph.outputs.values()) cross(value)
  if (crossing.size === 0) return { graph }

  const keptName = (value: Value) => `kept ${value.name}`
  const prelude = new Graph(`${graph.name} prelude`)
  const early = copyInto(prelude, needed(graph, crossing), new Map())
  for (const value of crossing) prelude.output(keptName(value), early(value))

  const rest = new Graph(graph.name)
  const kept = new Map<Value, Value>()
  const nodes = graph.nodes.filter((node) => !before.has(node.output) || viewed.has(node))
  const read = new Set([...nodes.flatMap(operandsOf), ...graph.outputs.values()])
  for (const input of graph.inputs.values())
    if (read.has(input) || !held.includes(input.name)) kept.set(input, rest.input(input.name, input.shape, input.kind))
  for (const value of crossing) kept.set(value, rest.input(keptName(value), value.shape, value.kind))
  const late = copyInto(rest, nodes, kept)
  for (const [name, value] of graph.outputs) rest.output(name, late(value))
  return { graph: rest, prelude }
}

/** The nodes that the values come from, in order. */
function needed(graph: Graph, values: Iterable<Value>): readonly Node[] {
  const wanted = new Set<Value>(values)
  for (const node of graph.nodes.toReversed())
    if (wanted.has(node.output)) for (const value of operandsOf(node)) wanted.add(value)
  return graph.nodes.filter((node) => wanted.has(node.output))
}

/** Copies the nodes; inputs, parameters and constants come along when they are read. `known`: what stands for others already. */
function copyInto(copy: Graph, nodes: readonly Node[], known: Map<Value, Value>): (old: Value) => Value {
  const leaf = (old: Value): Value => {
    if (old.origin === 'input') return copy.input(old.name, old.shape, old.kind)
    if (old.origin === 'param') return copy.param(old.name, old.shape, old.parts)
    return copy.constant(stem(old.name), old.shape, old.data!)
  }
  const value = (old: Value): Value => {
    const found = known.get(old) ?? leaf(old)
    known.set(old, found)
    return found
  }
  for (const { op, inputs, attrs, scope, epilogue, output } of nodes) {
    const copied = epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map(value) }
    known.set(output, copy.add(op, inputs.map(value), attrs as never, scope, copied))
  }
  return value
}
