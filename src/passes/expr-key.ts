// A text that two expression trees share exactly when they compute the same thing in the same way.
import type { Expr } from '../graph/expr.ts'

/** Each distinct subtree is written once and referred to by number: the text grows with the tree, shared or not. */
export function exprKey(expr: Expr): string {
  const numbers = new Map<string, number>()
  const known = new Map<Expr, number>()
  const number = (e: Expr): number => {
    const seen = known.get(e)
    if (seen !== undefined) return seen
    const text = describe(e, number)
    const result = numbers.get(text) ?? numbers.size
    numbers.set(text, result)
    known.set(e, result)
    return result
  }
  number(expr)
  return [...numbers.keys()].join(';')
}

function describe(e: Expr, number: (child: Expr) => number): string {
  switch (e.kind) {
    case 'input':
      return `x${e.index}`
    case 'const':
      return Object.is(e.value, -0) ? '-0' : String(e.value)
    case 'unary':
      return `${e.fn} ${number(e.x)}`
    case 'binary':
      return `${e.fn} ${number(e.a)} ${number(e.b)}`
  }
}
