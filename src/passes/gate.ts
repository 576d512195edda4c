// GEGLU: a linear layer twice as wide, whose first half is multiplied by the GELU of its second, becomes one gated product
// of half the width: the wide result is never stored.
import { binary, geluExpr, input } from '../graph/expr.ts'
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { MatmulAttrs, SliceAttrs } from '../ops/attrs.ts'
import { matmulOp } from '../ops/matmul.ts'
import { exprKey } from './expr-key.ts'
import { countUses, rewrite } from './rewrite.ts'
import { treeOf } from './tree.ts'

const productKeys = [exprKey(binary('mul', input(0), input(1))), exprKey(binary('mul', input(1), input(0)))]
const geluKey = exprKey(geluExpr(input(0)))

export function gateProducts(graph: Graph): Graph {
  const uses = countUses(graph)
  return rewrite(graph, (node, to) => {
    const wide = gatedProduct(node, uses)
    if (!wide) return undefined
    const attrs: MatmulAttrs = { ...(wide.attrs as MatmulAttrs), gate: 'gelu' }
    return to.graph.add(matmulOp, wide.inputs.map(to.value), attrs, wide.scope)
  })
}

/** The wide product behind `value · gelu(gate)`, when nothing else reads it or what lies between. */
function gatedProduct(node: Node, uses: ReadonlyMap<Value, number>): Node | undefined {
  const tree = treeOf(node)
  if (tree?.inputs.length !== 2 || !productKeys.includes(exprKey(tree.expr))) return undefined
  for (const [half, activated] of [tree.inputs, tree.inputs.toReversed()] as [Value, Value][]) {
    const gelu = treeOf(activated.node)
    if (!gelu || exprKey(gelu.expr) !== geluKey) continue
    const [value, gate] = [half.node, gelu.inputs[0]!.node]
    const wide = value?.inputs[0]?.node
    if (value?.op.name !== 'slice' || gate?.op.name !== 'slice' || gate.inputs[0] !== wide?.output) continue
    if (wide?.op.name !== 'matmul' || wide.epilogue || !isPlain(wide)) continue
    const width = wide.output.shape.at(-1)!
    const [first, second] = [value.attrs as SliceAttrs, gate.attrs as SliceAttrs]
    const halves = first.start === 0 && first.end === width / 2 && second.start === width / 2 && second.end === width
    const single = [half, activated, gate.output].every((each) => uses.get(each) === 1) && uses.get(wide.output) === 2
    if (halves && single) return wide
  }
  return undefined
}

/** A linear layer: its weight is stored by output feature, so that halves of the features are halves of the rows. */
function isPlain({ attrs, inputs }: Node): boolean {
  const { gate, transposeB } = attrs as MatmulAttrs
  return !gate && transposeB && inputs[1]!.shape.length === 2
}
