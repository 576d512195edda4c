// Chains of pointwise nodes become one node with one tree: what lies between them is never stored.
import type { Graph } from '../graph/graph.ts'
import { pointwiseOp } from '../ops/pointwise.ts'
import { sameShape } from '../ops/shapes.ts'
import { countUses, rewrite } from './rewrite.ts'
import { inline, treeOf } from './tree.ts'

/** WebGPU promises 8 storage buffers a stage: these, the output, and one to spare. */
const maxInputs = 6

export function fusePointwise(graph: Graph): Graph {
  const uses = countUses(graph)
  return rewrite(graph, (node, to) => {
    const own = treeOf(node)
    if (!own) return undefined
    let tree = { expr: own.expr, inputs: own.inputs.map(to.value) }
    for (const old of new Set(node.inputs)) {
      const value = to.value(old)
      const inner = treeOf(value.node)
      // A value of a smaller shape is computed once and broadcast; in this node's tree it would be computed many times.
      if (!inner || uses.get(old) !== 1 || !sameShape(value.shape, node.output.shape)) continue
      const merged = inline(tree, value, inner)
      if (merged.inputs.length <= maxInputs) tree = { expr: merged.expr, inputs: [...merged.inputs] }
    }
    return to.graph.add(pointwiseOp, tree.inputs, { expr: tree.expr }, node.scope)
  })
}
