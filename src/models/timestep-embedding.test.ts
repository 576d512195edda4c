import { describe, expect, it } from 'vitest'
import { sinusoidalEmbedding } from './timestep-embedding.ts'

describe('sinusoidalEmbedding', () => {
  it('has the cosines first when flipped, frequencies falling from 1 to 10000^(−(half − 1)/half)', () => {
    const row = sinusoidalEmbedding([500.5], { channels: 4, flipSinToCos: true, freqShift: 0 })
    const expected = [Math.cos(500.5), Math.cos(5.005), Math.sin(500.5), Math.sin(5.005)]
    expect(row).toEqual(Float32Array.from(expected))
  })

  it('has the sines first otherwise, and reaches 1/10000 with a shift of 1', () => {
    const row = sinusoidalEmbedding([981], { channels: 4, flipSinToCos: false, freqShift: 1 })
    const expected = [Math.sin(981), Math.sin(0.0981), Math.cos(981), Math.cos(0.0981)]
    row.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 6)
    })
  })

  it('keeps rows apart and leaves an odd channel zero', () => {
    const rows = sinusoidalEmbedding([0, 1], { channels: 5, flipSinToCos: true, freqShift: 0 })
    const expected = [1, 1, 0, 0, 0, Math.cos(1), Math.cos(0.01), Math.sin(1), Math.sin(0.01), 0]
    expect(rows).toEqual(Float32Array.from(expected))
  })
})
