import { describe, expect, it } from 'vitest'
import { binary, constant, geluExpr, input, siluExpr, unary } from '../graph/expr.ts'
import { compileExpr, erf } from './expr-reference.ts'

describe('erf', () => {
  // Abramowitz and Stegun, table 7.1, and the double nearest where more digits are known.
  it.each([
    [0, 0],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [-1, -0.8427007929497149],
    [7, 1],
  ])('of %d', (x, want) => {
    expect(Math.abs(erf(x) - want)).toBeLessThan(2e-15)
  })

  it('does not jump between its two formulas', () => {
    expect(Math.abs(erf(2.5) - erf(2.5 - 1e-12))).toBeLessThan(1e-14)
  })
})

describe('compileExpr', () => {
  const at = (expr: Parameters<typeof compileExpr>[0], ...xs: number[]) =>
    compileExpr(expr)(xs.map((value) => ({ value, error: Math.abs(value) })))

  it('evaluates', () => {
    expect(at(siluExpr(input(0)), 1.5).value).toBeCloseTo(1.5 / (1 + Math.exp(-1.5)), 15)
    expect(at(geluExpr(input(0)), 1).value).toBeCloseTo(0.8413447460685429, 15)
    expect(at(binary('div', input(0), input(1)), 3, -2).value).toBe(-1.5)
  })

  it('bounds cancellation by the sizes of what cancels', () => {
    const { value, error } = at(binary('sub', input(0), constant(1000)), 1000)
    expect(value).toBe(0)
    expect(error).toBe(2000)
  })

  it('bounds what f32 does to a chain', () => {
    const expr = unary('exp', binary('mul', unary('tanh', input(0)), constant(3)))
    for (let x = -2; x < 2; x += 0.037) {
      const { value, error } = at(expr, Math.fround(x))
      const single = Math.fround(Math.exp(Math.fround(Math.fround(Math.tanh(Math.fround(x))) * 3)))
      expect(Math.abs(single - value)).toBeLessThanOrEqual(2 ** -24 * error)
    }
  })
})
