// What depends on held inputs alone: inputs that stay while others change (a picture's text, from step to step).
import type { Graph, Node, Value } from '../graph/graph.ts'

/** What a node reads: its inputs and its epilogue's. */
export function operandsOf({ inputs, epilogue }: Node): readonly Value[] {
  return epilogue ? [...inputs, ...epilogue.inputs] : inputs
}

/** The held inputs, parameters and constants, and every result that comes from these alone. */
export function heldValues(graph: Graph, held: readonly string[]): ReadonlySet<Value> {
  const values = new Set<Value>(graph.params.values())
  for (const name of held) {
    const input = graph.inputs.get(name)
    if (input) values.add(input)
  }
  for (const node of graph.nodes)
    if (operandsOf(node).every((value) => value.origin === 'constant' || values.has(value))) values.add(node.output)
  return values
}
