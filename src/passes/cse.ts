// Common subexpressions: nodes that compute the same from the same values become one. The SiLU of the time embedding,
// which every resnet asks for, is computed once that way.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { PointwiseAttrs } from '../ops/attrs.ts'
import { exprKey } from './expr-key.ts'
import { type Rewriting, rewrite } from './rewrite.ts'

export function shareCommonSubexpressions(graph: Graph): Graph {
  const known = new Map<string, Value>()
  return rewrite(graph, (node, to) => {
    const key = nodeKey(node, to)
    const same = known.get(key)
    if (same) return same
    const { op, inputs, attrs, scope, epilogue } = node
    const copied = epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map(to.value) }
    const value = to.graph.add(op, inputs.map(to.value), attrs as never, scope, copied)
    known.set(key, value)
    return value
  })
}

/** Everything that a node's result depends on. */
function nodeKey({ op, inputs, attrs, epilogue }: Node, to: Rewriting): string {
  const ids = (values: readonly Value[]) => values.map((value) => to.value(value).id).join()
  const attributes = op.name === 'pointwise' ? exprKey((attrs as PointwiseAttrs).expr) : JSON.stringify(attrs)
  const tail = epilogue ? `${exprKey(epilogue.expr)} ${ids(epilogue.inputs)}` : ''
  return [op.name, attributes, ids(inputs), tail].join(' | ')
}
