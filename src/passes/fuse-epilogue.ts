// A pointwise node behind a product, convolution, norm or copy moves into it: activation, residual, time embedding and
// position are applied to a result before it is stored.
import { input } from '../graph/expr.ts'
import type { Graph, Node } from '../graph/graph.ts'
import { sameShape } from '../ops/shapes.ts'
import { countUses, rewrite } from './rewrite.ts'
import { inline, type Tree, treeOf } from './tree.ts'

/** Ops whose kernels apply an epilogue. Reshapes, slices and concatenations are better left to be views. */
export const epilogueProducers: ReadonlySet<string> = new Set([
  'conv2d',
  'matmul',
  'groupNorm',
  'layerNorm',
  'normalise',
  'upsample',
  'embedding',
])

/** A convolution reads three buffers and writes one, WebGPU promises 8 a stage: these, and one to spare. */
export const maxEpilogueInputs = 3

export function fuseEpilogue(graph: Graph): Graph {
  const uses = countUses(graph)
  const order = new Map(graph.nodes.map((node, i) => [node.output, i]))
  return rewrite(graph, (node, to) => {
    const tree = treeOf(node)
    if (!tree) return undefined
    // Of two producers (a residual with its shortcut) the later one takes the node: its result is the fresher.
    const candidates = [...new Set(node.inputs)].toSorted((a, b) => (order.get(b) ?? -1) - (order.get(a) ?? -1))
    for (const old of candidates) {
      const producer = to.value(old).node
      if (!producer || !epilogueProducers.has(producer.op.name)) continue
      if (uses.get(old) !== 1 || !sameShape(old.shape, node.output.shape)) continue
      const merged = withEpilogue(producer, { expr: tree.expr, inputs: tree.inputs.map(to.value) })
      if (merged.inputs.length <= maxEpilogueInputs)
        return to.graph.add(producer.op, producer.inputs, producer.attrs as never, producer.scope, merged)
    }
    return undefined
  })
}

/** The producer's epilogue, then `tree`, which reads the producer's output. Input 0 is the result before any epilogue. */
function withEpilogue({ output, epilogue }: Node, tree: Tree): Tree {
  // The output stands for the bare result here, so that it comes first among the inputs.
  const inner = { expr: epilogue?.expr ?? input(0), inputs: [output, ...(epilogue?.inputs ?? [])] }
  const { expr, inputs } = inline(tree, output, inner)
  return { expr, inputs: inputs.slice(1) }
}
