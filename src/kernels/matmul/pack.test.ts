// Packed weights against the plain definition of their layout, padding included, for f32 values and f16 bits.
import { describe, expect, test } from 'vitest'
import { packConv } from '../conv2d/problem.ts'
import type { Operand, PreparedWeight, Request } from '../family.ts'
import { packGateBias, packMatrix } from './pack.ts'

/** What the permutation says, element by element: what a device makes of it. */
function permuted({ permutation, elements }: PreparedWeight, source: ArrayLike<number>): number[] {
  const { sizes, limits, strides } = permutation
  expect(sizes[0] * sizes[1] * sizes[2]).toBe(elements)
  return Array.from({ length: elements }, (_, at) => {
    const place = [Math.floor(at / (sizes[1] * sizes[2])), Math.floor(at / sizes[2]) % sizes[1], at % sizes[2]]
    if (place.some((p, d) => p >= limits[d]!)) return 0
    return source[place.reduce((sum, p, d) => sum + p * strides[d]!, 0)]!
  })
}

const operand = (shape: readonly number[]) =>
  ({ shape, rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), channels: shape.at(-1)!, space: 'weight' }) as Operand

function matmul(n: number, k: number, transposeB: boolean, gate: boolean) {
  const columns = gate ? 2 * n : n
  return {
    attrs: { transposeA: false, transposeB, ...(gate && { gate: 'gelu' }) },
    inputs: [operand([3, k]), operand(transposeB ? [columns, k] : [k, columns])],
    output: operand([3, n]),
  } as unknown as Request<never>
}

const arrays = [Float32Array, Uint16Array]

describe('packMatrix', () => {
  for (const [n, k] of [
    [8, 4],
    [13, 70],
    [21, 3],
    [64, 129],
  ] as const) {
    for (const transposeB of [true, false]) {
      for (const gate of [true, false]) {
        test.each(arrays)(`${n}×${k}, transposed ${transposeB}, gate ${gate}, %o`, (Elements) => {
          const halves = gate ? 2 : 1
          const [n4, k4] = [Math.ceil(n / 4), Math.ceil(k / 4)]
          const source = new Elements(n * k * halves).map((_, i) => i + 1)
          const weight = packMatrix(matmul(n, k, transposeB, gate))
          expect(weight.elements).toBe(k4 * 4 * halves * n4 * 4)
          const target = new Elements(weight.elements).fill(999)
          weight.pack(source, target)
          const want = new Elements(weight.elements).map((_, at) => {
            const [j, half, row] = [
              at % (n4 * 4),
              Math.floor(at / (n4 * 4)) % halves,
              Math.floor(at / (n4 * 4 * halves)),
            ]
            if (j >= n || row >= k) return 0
            const column = half * n + j
            return source[transposeB ? column * k + row : row * n * halves + column]!
          })
          expect(target).toEqual(want)
          expect(permuted(weight, source)).toEqual([...want])
          expect(permuted(weight, source)).toEqual([...want])
        })
      }
    }
  }
})

describe('packConv', () => {
  for (const [o, c, kh, kw] of [
    [8, 4, 3, 3],
    [13, 5, 3, 3],
    [3, 66, 1, 1],
    [10, 7, 2, 5],
  ] as const) {
    test.each(arrays)(`${o}×${c}×${kh}×${kw}, %o`, (Elements) => {
      const [o4, c4] = [Math.ceil(o / 4), Math.ceil(c / 4)]
      const source = new Elements(o * c * kh * kw).map((_, i) => i + 1)
      const weight = packConv({ o, c, kh, kw, o4, c4 } as Parameters<typeof packConv>[0])
      const target = new Elements(weight.elements).fill(999)
      weight.pack(source, target)
      const want = new Elements(kh * kw * c4 * 4 * o4 * 4).map((_, at) => {
        const [j, row] = [at % (o4 * 4), Math.floor(at / (o4 * 4))]
        const [channel, tap] = [row % (c4 * 4), Math.floor(row / (c4 * 4))]
        return j < o && channel < c ? source[(j * c + channel) * kh * kw + tap]! : 0
      })
      expect(target).toEqual(want)
      expect(permuted(weight, source)).toEqual([...want])
    })
  }
})

test('packGateBias pads each half', () => {
  const target = new Float32Array(16).fill(9)
  const weight = packGateBias(5)
  const source = Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  weight.pack(source, target)
  expect(permuted(weight, source)).toEqual([...target])
  expect([...target]).toEqual([1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 9, 10, 0, 0, 0])
})
