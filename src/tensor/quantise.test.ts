import { describe, expect, it } from 'vitest'
import { fromF16Bits, toF16Bits } from './dtype.ts'
import {
  blocksOf,
  dequantise,
  matrixOf,
  packNibbles,
  quantise,
  quantisedFormats,
  quantisedRules,
  unpackNibbles,
} from './quantise.ts'

/** Without a pattern, of both signs, over several orders of magnitude. */
const numbers = (count: number, seed = 1) =>
  Float32Array.from({ length: count }, (_, i) => {
    const wave = Math.sin((i + seed) * 12.9898) * 43758.5453
    return (wave - Math.floor(wave) - 0.5) * 2 ** -(i % 7)
  })

const shapes: readonly (readonly number[])[] = [
  [5, 130],
  [3, 7, 3, 3],
  [2, 68, 1, 3],
]

/** Index of each element's scale in [columns][blocks], written the plain way. */
function scaleIndex(shape: readonly number[], block: number, i: number): number {
  const blocks = Math.ceil(matrixOf(shape).rows / block)
  const taps = shape.slice(2).reduce((a, b) => a * b, 1)
  const channels = shape[1]!
  const column = Math.floor(i / (channels * taps))
  const row = (i % taps) * Math.ceil(channels / 4) * 4 + (Math.floor(i / taps) % channels)
  return column * blocks + Math.floor(row / block)
}

describe.each(quantisedFormats)('%s', (format) => {
  const { levels, block, scaleBits } = quantisedRules[format]

  it.each(shapes.map((shape) => ({ shape })))(
    'every value is the nearest of its block, and a half exactly: $shape',
    ({ shape }) => {
      const values = numbers(shape.reduce((a, b) => a * b, 1))
      const tensor = quantise(values, format, shape)
      expect(tensor.scales).toHaveLength(matrixOf(shape).columns * blocksOf(format, shape))
      const back = dequantise(tensor)
      const largest = new Map<number, number>()
      for (const [i, value] of values.entries()) {
        const slot = scaleIndex(shape, block, i)
        largest.set(slot, Math.max(largest.get(slot) ?? 0, Math.abs(value)))
        const scale = fromF16Bits(tensor.scales[slot]!)
        expect(back[i]).toBe((tensor.values[i]! * scale) / levels)
        expect(fromF16Bits(toF16Bits(back[i]!))).toBe(back[i])
        // Half a step; a whole one at the end that has one integer less.
        const step = Math.abs(scale) / levels
        expect(Math.abs(value - back[i]!)).toBeLessThanOrEqual(tensor.values[i] === levels - 1 ? step : step / 2)
      }
      for (const [slot, most] of largest) {
        const scale = Math.abs(fromF16Bits(tensor.scales[slot]!))
        expect(scale).toBeGreaterThanOrEqual(most)
        expect(scale).toBeLessThanOrEqual(most * (1 + 2 ** (1 - scaleBits)))
      }
    },
  )

  it('keeps zeros, and numbers at both ends of the halves', () => {
    const shape = [1, block]
    const of = (...values: number[]) =>
      dequantise(
        quantise(
          Float32Array.from({ length: block }, (_, i) => values[i] ?? 0),
          format,
          shape,
        ),
      )
    expect(of().every((value) => value === 0)).toBe(true)
    const [most, least] = of(65504, -65504)
    expect(most! / 65504).toBeCloseTo(1, 0)
    expect(Number.isFinite(most) && Number.isFinite(least)).toBe(true)
    // Steps of the smallest scale, 2^-14: it is a normal half.
    expect(Math.abs(of(2 ** -20)[0]! - 2 ** -20)).toBeLessThanOrEqual(2 ** -14 / levels / 2)
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('a block with %d shows it', (odd) => {
    const values = numbers(2 * block)
    values[3] = odd
    values[4] = 100
    const back = dequantise(quantise(values, format, [1, 2 * block]))
    expect(back.slice(0, block).every(Number.isNaN)).toBe(true)
    expect(back.slice(block).every(Number.isFinite)).toBe(true)
  })

  it('does not depend on the order of a largest number and its negative', () => {
    const pair = (a: number, b: number) => quantise(Float32Array.from([a, b, 0, 0]), format, [1, 4]).scales
    expect(pair(1.5, -1.5)).toEqual(pair(-1.5, 1.5))
  })
})

it('packs two nibbles a byte, the first in the low half', () => {
  const values = Int8Array.from([-8, 7, 0, -1, 3])
  const bytes = packNibbles(values)
  expect([...bytes]).toEqual([0x78, 0xf0, 0x03])
  expect(unpackNibbles(bytes, 5)).toEqual(values)
})
