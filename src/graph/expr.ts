// Pointwise functions as data: an expression tree is a node of its own, or the epilogue of a product.
// Printing it (WGSL), evaluating it (f64) and lowering it (ONNX) belong to others.

export type UnaryFn = 'neg' | 'exp' | 'tanh' | 'erf' | 'sigmoid' | 'sqrt'
export type BinaryFn = 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max'

export type Expr =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'const'; readonly value: number }
  | { readonly kind: 'unary'; readonly fn: UnaryFn; readonly x: Expr }
  | { readonly kind: 'binary'; readonly fn: BinaryFn; readonly a: Expr; readonly b: Expr }

export const input = (index: number): Expr => ({ kind: 'input', index })
export const constant = (value: number): Expr => ({ kind: 'const', value })
export const unary = (fn: UnaryFn, x: Expr): Expr => ({ kind: 'unary', fn, x })
export const binary = (fn: BinaryFn, a: Expr, b: Expr): Expr => ({ kind: 'binary', fn, a, b })

/** x · sigmoid(x). */
export const siluExpr = (x: Expr): Expr => binary('mul', x, unary('sigmoid', x))

/** Exact GELU: x/2 · (1 + erf(x/√2)). */
export const geluExpr = (x: Expr): Expr =>
  binary(
    'mul',
    binary('mul', x, constant(0.5)),
    binary('add', unary('erf', binary('mul', x, constant(Math.SQRT1_2))), constant(1)),
  )

/** CLIP's quick GELU: x · sigmoid(1.702 x). */
export const quickGeluExpr = (x: Expr): Expr => binary('mul', x, unary('sigmoid', binary('mul', x, constant(1.702))))

/** The tree with each input i replaced by `replacements[i]`. Shared subtrees stay shared objects. */
export function substitute(expr: Expr, replacements: readonly Expr[]): Expr {
  const done = new Map<Expr, Expr>()
  const walk = (e: Expr): Expr => {
    const known = done.get(e)
    if (known) return known
    let result: Expr
    switch (e.kind) {
      case 'input':
        result = replacements[e.index]!
        break
      case 'const':
        result = e
        break
      case 'unary':
        result = unary(e.fn, walk(e.x))
        break
      case 'binary':
        result = binary(e.fn, walk(e.a), walk(e.b))
        break
    }
    done.set(e, result)
    return result
  }
  return walk(expr)
}
