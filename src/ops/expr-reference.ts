// Expression trees in f64, with a first-order bound on what rounding does to them.
import type { BinaryFn, Expr, UnaryFn } from '../graph/expr.ts'

/** A value and its error bound in units of the arithmetic's epsilon. */
export interface Bounded {
  readonly value: number
  readonly error: number
}

/**
 * The error function to double precision: its Taylor series near zero, Lentz's continued fraction of erfc beyond
 * (Abramowitz and Stegun 7.1.6 and 7.1.14).
 */
export function erf(x: number): number {
  const magnitude = Math.abs(x)
  if (magnitude > 6) return Math.sign(x)
  if (magnitude < 2.5) {
    let term = x
    let sum = x
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1)
      sum += term
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
  }
  let fraction = 0
  for (let n = 60; n > 0; n--) fraction = n / 2 / (magnitude + fraction)
  return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (magnitude + fraction)))
}

export function geluOf(x: number): number {
  return 0.5 * x * (1 + erf(x * Math.SQRT1_2))
}

/** Value and derivative. */
function unaryOf(fn: UnaryFn, x: number): [number, number] {
  switch (fn) {
    case 'neg':
      return [-x, -1]
    case 'exp':
      return [Math.exp(x), Math.exp(x)]
    case 'tanh':
      return [Math.tanh(x), 1 - Math.tanh(x) ** 2]
    case 'erf':
      return [erf(x), (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x)]
    case 'sigmoid': {
      const s = 1 / (1 + Math.exp(-x))
      return [s, s * (1 - s)]
    }
    case 'sqrt':
      return [Math.sqrt(x), x === 0 ? 0 : 0.5 / Math.sqrt(x)]
  }
}

function binaryOf(fn: BinaryFn, a: Bounded, b: Bounded): Bounded {
  const [p, q] = [a.value, b.value]
  switch (fn) {
    case 'add':
      return { value: p + q, error: a.error + b.error }
    case 'sub':
      return { value: p - q, error: a.error + b.error }
    case 'mul':
      return { value: p * q, error: Math.abs(p) * b.error + Math.abs(q) * a.error + Math.abs(p * q) }
    case 'div':
      return { value: p / q, error: (a.error + Math.abs(p / q) * b.error) / Math.abs(q) + Math.abs(p / q) }
    case 'min':
      return { value: Math.min(p, q), error: Math.max(a.error, b.error) }
    case 'max':
      return { value: Math.max(p, q), error: Math.max(a.error, b.error) }
  }
}

/** The tree as a function of its inputs. Each step rounds once; inputs bring errors of their own. */
export function compileExpr(expr: Expr): (inputs: readonly Bounded[]) => Bounded {
  const order: Expr[] = []
  const visit = (e: Expr): void => {
    if (order.includes(e)) return
    if (e.kind === 'unary') visit(e.x)
    if (e.kind === 'binary') {
      visit(e.a)
      visit(e.b)
    }
    order.push(e)
  }
  visit(expr)
  return (inputs) => {
    const known = new Map<Expr, Bounded>()
    for (const e of order) {
      switch (e.kind) {
        case 'input':
          known.set(e, inputs[e.index]!)
          break
        case 'const':
          known.set(e, { value: e.value, error: Math.abs(e.value) })
          break
        case 'unary': {
          const x = known.get(e.x)!
          const [value, slope] = unaryOf(e.fn, x.value)
          known.set(e, { value, error: Math.abs(slope) * x.error + Math.abs(value) })
          break
        }
        case 'binary':
          known.set(e, binaryOf(e.fn, known.get(e.a)!, known.get(e.b)!))
          break
      }
    }
    return known.get(expr)!
  }
}
