import { expect, test } from 'vitest'
import { f16ToF32, f32ToF16, fromF16Bits, toF16Bits } from './dtype.ts'

/** Every finite half, in order of value from 0 up. */
const positive = Array.from({ length: 0x7c00 }, (_, bits) => bits)

test('every half survives the way to f32 and back', () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i).filter(
    (b) => (b & 0x7c00) !== 0x7c00 || (b & 0x3ff) === 0,
  )
  expect(f32ToF16(f16ToF32(bits))).toEqual(bits)
})

test('values between two halves go to the nearer, ties to the even one', () => {
  for (const low of positive.slice(0, -1)) {
    const [a, b] = [fromF16Bits(low), fromF16Bits(low + 1)]
    const middle = (a + b) / 2
    expect(toF16Bits(middle)).toBe(low % 2 === 0 ? low : low + 1)
    expect(toF16Bits(a + (b - a) * 0.4375)).toBe(low)
    expect(toF16Bits(-(a + (b - a) * 0.5625))).toBe(0x8000 | (low + 1))
  }
})

test('what is too large, too small or no number', () => {
  expect(toF16Bits(65519.99)).toBe(0x7bff)
  expect(toF16Bits(65520)).toBe(0x7c00)
  expect(toF16Bits(-1e9)).toBe(0xfc00)
  expect(toF16Bits(2 ** -25)).toBe(0)
  expect(toF16Bits(2 ** -25 * 1.001)).toBe(1)
  expect(Number.isNaN(fromF16Bits(toF16Bits(Number.NaN)))).toBe(true)
})
