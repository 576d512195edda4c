// Expression trees together with the values they read: what fusion moves from node to node.
import { type Expr, input, substitute } from '../graph/expr.ts'
import type { Node, Value } from '../graph/graph.ts'
import type { PointwiseAttrs } from '../ops/attrs.ts'

/** `expr` over `inputs`: its input i is `inputs[i]`. */
export interface Tree {
  readonly expr: Expr
  readonly inputs: readonly Value[]
}

/** The tree of a pointwise node without an epilogue. */
export function treeOf(node: Node | undefined): Tree | undefined {
  if (node?.op.name !== 'pointwise' || node.epilogue) return undefined
  return { expr: (node.attrs as PointwiseAttrs).expr, inputs: node.inputs }
}

/** `outer` with `value` computed by `inner` in its place. The inner inputs come first; what both read is read once. */
export function inline(outer: Tree, value: Value, inner: Tree): Tree {
  const inputs = [...new Set([...inner.inputs, ...outer.inputs.filter((each) => each !== value)])]
  const read = (each: Value): Expr => input(inputs.indexOf(each))
  const part = substitute(inner.expr, inner.inputs.map(read))
  return {
    expr: substitute(
      outer.expr,
      outer.inputs.map((each) => (each === value ? part : read(each))),
    ),
    inputs,
  }
}
