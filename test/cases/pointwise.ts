// Cases of pointwise: every function of the tree, every way of broadcasting.
import { binary, constant, type Expr, geluExpr, input, quickGeluExpr, siluExpr, unary } from '../../src/graph/expr.ts'
import type { CaseInput, OpCase } from './case.ts'

function point(name: string, expr: Expr, ...inputs: (readonly number[] | CaseInput)[]): OpCase {
  return {
    name,
    op: 'pointwise',
    inputs: inputs.map((each) => ('shape' in each ? each : { shape: each })),
    attrs: { expr },
  }
}

const [x, y, z] = [input(0), input(1), input(2)]
const positive = { shape: [1, 3, 4, 5], mean: 3, deviation: 0.5 }
const sum = binary('add', x, y)

export const cases: readonly OpCase[] = [
  point('neg', unary('neg', x), [1, 3, 4, 5]),
  point('exp', unary('exp', x), [1, 3, 4, 5]),
  point('tanh', unary('tanh', x), { shape: [1, 3, 4, 5], deviation: 3 }),
  point('erf', unary('erf', x), { shape: [1, 3, 4, 5], deviation: 2 }),
  point('sigmoid', unary('sigmoid', x), { shape: [1, 3, 4, 5], deviation: 6 }),
  point('sqrt', unary('sqrt', x), positive),
  point('add', sum, [1, 3, 4, 5], [1, 3, 4, 5]),
  point('sub', binary('sub', x, y), [1, 3, 4, 5], [1, 3, 4, 5]),
  point('mul', binary('mul', x, y), [1, 3, 4, 5], [1, 3, 4, 5]),
  point('div', binary('div', x, y), [1, 3, 4, 5], positive),
  point('min', binary('min', x, y), [1, 3, 4, 5], [1, 3, 4, 5]),
  point('max', binary('max', x, y), [1, 3, 4, 5], [1, 3, 4, 5]),
  point('silu', siluExpr(x), { shape: [2, 5, 3, 6], deviation: 4 }),
  point('gelu', geluExpr(x), { shape: [2, 5, 3, 6], deviation: 3 }),
  point('quick gelu', quickGeluExpr(x), { shape: [2, 77, 48], deviation: 3 }),
  point('relu', binary('max', x, constant(0)), [1, 4, 4, 8]),
  point('clamp by tanh', binary('mul', unary('tanh', binary('div', x, constant(3))), constant(3)), [1, 4, 4, 4]),
  point('scaled', binary('mul', x, constant(-0.18215)), [1, 4, 4, 4]),
  point('a constant above one thousand', binary('sub', binary('mul', x, constant(1000.5)), constant(-2)), [7]),
  point('one element', sum, [1], [1]),
  point('a vector', siluExpr(x), [13]),
  point('a matrix', siluExpr(x), [2, 96]),
  point('channels one', sum, [2, 3, 5, 1], [2, 3, 5, 1]),
  point('time embedding', sum, [2, 5, 4, 6], [2, 1, 1, 6]),
  point('the same time for all', sum, [2, 5, 4, 8], [1, 1, 1, 8]),
  point('channel vector on an image', sum, [2, 5, 4, 6], { shape: [6], param: true }),
  point('image on a channel vector', binary('sub', x, y), { shape: [6], param: true }, [2, 5, 4, 6]),
  point('mask of one channel', binary('mul', x, y), [2, 5, 4, 6], [2, 5, 4, 1]),
  point('mask for all pictures', binary('mul', x, y), [2, 5, 4, 6], [1, 5, 4, 1]),
  point('row of an image', sum, [1, 5, 4, 6], [1, 1, 4, 6]),
  point('positions', sum, [2, 7, 12], { shape: [7, 12], param: true }),
  point('one factor', binary('mul', x, y), [2, 7, 12], { shape: [1], param: true }),
  point('both sides grow', sum, [2, 1, 12], [1, 7, 1]),
  point('three inputs', binary('add', binary('mul', x, y), z), [2, 3, 4, 10], [2, 3, 4, 10], [2, 1, 1, 10]),
  point('shared subtree', binary('mul', siluExpr(sum), sum), [2, 3, 4, 10], [2, 3, 4, 10]),
  point('the same input twice', binary('mul', x, x), [3, 20]),
  point('input alone', x, [2, 3, 4, 6]),
]
