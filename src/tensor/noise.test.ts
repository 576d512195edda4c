import { describe, expect, it } from 'vitest'
import { mt19937 } from './mt19937.ts'
import { philoxNoise, torchCpuNoise } from './noise.ts'
import { philox4x32 } from './philox.ts'

describe('mt19937', () => {
  it('gives the published sequence: the 10000th word of seed 5489', () => {
    const next = mt19937(5489)
    expect([next(), next()]).toEqual([3499211612, 581869302])
    for (let i = 2; i < 9999; i++) next()
    expect(next()).toBe(4123659995)
  })
})

describe('philox4x32', () => {
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('gives Random123’s known answer for counter %j', (counter, key, expected) => {
    const words = Uint32Array.from(counter)
    philox4x32(words, [key[0]!, key[1]!])
    expect([...words]).toEqual(expected)
  })
})

describe('torchCpuNoise', () => {
  it('uses the seed modulo 2³², numbers and bigints alike', () => {
    const three = torchCpuNoise(3).normal([40])
    expect(torchCpuNoise(2 ** 40 + 3).normal([40])).toEqual(three)
    expect(torchCpuNoise((1n << 40n) + 3n).normal([40])).toEqual(three)
    expect(torchCpuNoise(4).normal([40])).not.toEqual(three)
    expect(torchCpuNoise(-1).normal([4])).toEqual(torchCpuNoise(2n ** 64n - 1n).normal([4]))
  })

  it('goes on where the last draw ended', () => {
    const source = torchCpuNoise(7)
    const first = source.normal([1, 4, 8, 8])
    expect(source.normal([1, 4, 8, 8])).not.toEqual(first)
    expect(torchCpuNoise(7).normal([4, 64])).toEqual(first)
  })

  it('starts a batch with the first image’s uniforms but not with its noise of another size', () => {
    // The first block of 16 is the same for every size that is no shorter.
    expect(torchCpuNoise(1).normal([2, 16]).subarray(0, 16)).toEqual(torchCpuNoise(1).normal([16]))
    // 17 values: all but the first are drawn anew.
    expect(torchCpuNoise(1).normal([17])[0]).toBe(torchCpuNoise(1).normal([16])[0])
    expect(torchCpuNoise(1).normal([17])[1]).not.toBe(torchCpuNoise(1).normal([16])[1])
  })

  it('draws other numbers in half precision', () => {
    const single = torchCpuNoise(0).normal([64])
    expect(torchCpuNoise(0, 'float16').normal([64])[0]).not.toBeCloseTo(single[0]!, 2)
    expect(torchCpuNoise(0, 'float16-rounded').normal([64])[0]).toBeCloseTo(single[0]!, 2)
  })

  it.each([0.5, Number.NaN, 2 ** 60, Number.POSITIVE_INFINITY])('refuses %s as a seed', (seed) => {
    expect(() => torchCpuNoise(seed)).toThrow(expect.objectContaining({ code: 'options/invalid' }))
    expect(() => philoxNoise(seed)).toThrow(expect.objectContaining({ code: 'options/invalid' }))
  })

  it('is normal', () => {
    for (const source of [torchCpuNoise(12), philoxNoise(12)]) {
      const values = source.normal([1 << 16])
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      const square = values.reduce((sum, value) => sum + value * value, 0) / values.length
      expect(Math.abs(mean)).toBeLessThan(0.02)
      expect(Math.abs(square - 1)).toBeLessThan(0.03)
    }
  })
})

describe('philoxNoise', () => {
  it('gives A1111’s documented numbers for seed 0', () => {
    const expected = [
      -0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709, -1.07454231,
      -0.36314407, -1.67105067, 2.26550497,
    ]
    const values = philoxNoise(0).normal([3, 4])
    for (const [i, value] of expected.entries()) expect(values[i]).toBeCloseTo(value, 6)
  })

  it('does not depend on the size, uses all 64 bits of the seed, and moves on by call', () => {
    const source = philoxNoise(5)
    const first = source.normal([8])
    expect(philoxNoise(5).normal([100]).subarray(0, 8)).toEqual(first)
    expect(source.normal([8])).not.toEqual(first)
    expect(philoxNoise(5n + (1n << 32n)).normal([8])).not.toEqual(first)
  })
})
