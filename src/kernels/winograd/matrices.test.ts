import { describe, expect, it } from 'vitest'
import { finitePoints, type Matrix, toomCook } from './matrices.ts'

let seed = 5
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 31 - 1
}

const table = (rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length: columns }, random))
const times = (a: Matrix, b: Matrix): number[][] =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, value, k) => sum + value * b[k]![j]!, 0)))
const transposed = (a: Matrix): number[][] => a[0]!.map((_, j) => a.map((row) => row[j]!))
const both = (a: Matrix, x: Matrix): number[][] => times(times(a, x), transposed(a))

describe('toomCook', () => {
  for (const m of [2, 4, 6, 8] as const)
    for (const [set, points] of Object.entries(finitePoints[m]))
      it(`F(${m}×${m}, 3×3) of ${set} is the correlation`, () => {
        const { t, bt, g, at } = toomCook(m, points)
        expect([bt.length, bt[0]!.length, g.length, g[0]!.length, at.length, at[0]!.length]).toEqual([t, t, t, 3, m, t])
        for (let round = 0; round < 20; round++) {
          const [inputs, kernel] = [table(t, t), table(3, 3)]
          const [v, u] = [both(bt, inputs), both(g, kernel)]
          const y = both(at, v.map((row, i) => row.map((value, j) => value * u[i]![j]!))) // biome-ignore format: one line
          for (let i = 0; i < m; i++)
            for (let j = 0; j < m; j++) {
              let want = 0
              for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) want += inputs[i + a]![j + b]! * kernel[a]![b]!
              expect(Math.abs(y[i]![j]! - want)).toBeLessThan(1e-11)
            }
        }
      })

  it('F(4×4) of roots: the powers that make it accurate', () => {
    const { bt, at } = toomCook(4, finitePoints[4].roots!)
    bt[0]!.forEach((value, k) => {
      expect(value).toBeCloseTo([1, 0, -2.5, 0, 1, 0][k]!, 12)
    })
    at[3]!.forEach((value, k) => {
      expect(value).toBeCloseTo([0, Math.SQRT1_2 / 2, -Math.SQRT1_2 / 2, 2 * Math.SQRT2, -2 * Math.SQRT2, 1][k]!, 12)
    })
  })
})
