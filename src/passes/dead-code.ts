// Leaves out nodes whose results nothing reads; their parameters go with them.
import type { Graph, Value } from '../graph/graph.ts'
import { rewrite } from './rewrite.ts'

export function removeDeadCode(graph: Graph): Graph {
  const live = new Set<Value>(graph.outputs.values())
  for (const node of graph.nodes.toReversed())
    if (live.has(node.output)) for (const value of [...node.inputs, ...(node.epilogue?.inputs ?? [])]) live.add(value)
  return rewrite(graph, (node) => (live.has(node.output) ? undefined : 'drop'))
}
