// An image that is doubled and then convolved is doubled by the convolution while it reads: four times what is stored never exists.
// Comes before anything is divided into bands, which then need rows of the small image only.
import type { Graph, Node } from '../graph/graph.ts'
import type { Conv2dAttrs } from '../ops/attrs.ts'
import { countUses, rewrite } from './rewrite.ts'

export function foldUpsample(graph: Graph): Graph {
  const uses = countUses(graph)
  const folded = new Set<Node>()
  for (const node of graph.nodes) {
    const enlargement = node.inputs[0]?.node
    if (!enlargement || uses.get(enlargement.output) !== 1) continue
    if (isDoubling(enlargement) && readsDoubled(node)) folded.add(enlargement)
  }
  return rewrite(graph, ({ op, inputs: [x, ...weights], attrs, scope, epilogue }, to) => {
    const enlargement = x?.node
    if (!enlargement || !folded.has(enlargement)) return undefined
    const inputs = [enlargement.inputs[0]!, ...weights].map(to.value)
    const doubled: Conv2dAttrs = { ...(attrs as Conv2dAttrs), upsample: 2 }
    const copied = epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map(to.value) }
    return to.graph.add(op, inputs, doubled as never, scope, copied)
  })
}

function isDoubling({ op, inputs, output, epilogue }: Node): boolean {
  const [x] = inputs
  return op.name === 'upsample' && !epilogue && [1, 2].every((axis) => output.shape[axis] === 2 * x!.shape[axis]!)
}

/** Kernels of one pixel are left alone: they are products, whose rows are read as they lie. */
function readsDoubled({ op, inputs, attrs }: Node): boolean {
  if (op.name !== 'conv2d' || (attrs as Conv2dAttrs).upsample) return false
  return inputs[1]!.shape.slice(2).some((size) => size > 1)
}
