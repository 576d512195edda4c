// What every pass stands on: a graph is copied node by node, and a rule may put something else in a node's place.
import { Graph, type Node, type Value } from '../graph/graph.ts'
import { operandsOf } from './held.ts'

/** The copy being made. */
export interface Rewriting {
  readonly graph: Graph
  /** The copy's value for one of the old graph. */
  value(old: Value): Value
}

/** What stands for the node's result in the copy; undefined copies the node; 'drop' leaves out one that nobody uses. */
export type Rule = (node: Node, to: Rewriting) => Value | 'drop' | undefined

/** A new graph with the same inputs and outputs. Parameters come along when something uses them. */
export function rewrite(graph: Graph, rule: Rule): Graph {
  const copy = new Graph(graph.name)
  const values = new Map<Value, Value>()
  for (const input of graph.inputs.values()) values.set(input, copy.input(input.name, input.shape, input.kind))

  const leaf = (old: Value): Value =>
    old.origin === 'param'
      ? copy.param(old.name, old.shape, old.parts)
      : copy.constant(stem(old.name), old.shape, old.data!)
  const value = (old: Value): Value => {
    const known = values.get(old) ?? leaf(old)
    values.set(old, known)
    return known
  }

  const to: Rewriting = { graph: copy, value }
  for (const node of graph.nodes) {
    const result = rule(node, to) ?? copyNode(node, to)
    if (result !== 'drop') values.set(node.output, result)
  }
  for (const [name, output] of graph.outputs) copy.output(name, value(output))
  return copy
}

function copyNode({ op, inputs, attrs, scope, epilogue }: Node, to: Rewriting): Value {
  const copied = epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map(to.value) }
  return to.graph.add(op, inputs.map(to.value), attrs as never, scope, copied)
}

/** A name without the number that made it unique: the graph that takes it numbers anew. */
export function stem(name: string): string {
  return name.replace(/#\d+$/, '')
}

/** How many nodes and graph outputs read each value. */
export function countUses(graph: Graph): ReadonlyMap<Value, number> {
  const uses = new Map<Value, number>()
  const use = (value: Value) => uses.set(value, (uses.get(value) ?? 0) + 1)
  for (const node of graph.nodes)
    for (const value of new Set([...node.inputs, ...(node.epilogue?.inputs ?? [])])) use(value)
  for (const value of graph.outputs.values()) use(value)
  return uses
}

/** The nodes that `wanted` names whose results nobody reads but who `takes` them, and that the graph does not return. */
export function takenAlone(
  graph: Graph,
  wanted: (node: Node) => boolean,
  takes: (reader: Node, node: Node) => boolean,
): ReadonlySet<Node> {
  const nodes = new Set(graph.nodes.filter(wanted))
  for (const { node } of graph.outputs.values()) if (node) nodes.delete(node)
  for (const reader of graph.nodes)
    for (const { node } of operandsOf(reader)) if (node && nodes.has(node) && !takes(reader, node)) nodes.delete(node)
  return nodes
}
