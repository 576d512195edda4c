import { describe, expect, it } from 'vitest'
import { toPicture } from './pixels.ts'

const bytesOf = (...samples: number[]) => {
  const padded = Float32Array.from({ length: Math.ceil(samples.length / 3) * 3 }, (_, i) => samples[i] ?? 0)
  return [...toPicture(padded, { width: padded.length / 3, height: 1, layout: 'nhwc' }).pixels].slice(0, samples.length)
}

describe('toPicture', () => {
  it('clamps, and rounds ties to even as torch and numpy do', () => {
    expect(bytesOf(-1, 1, 0, -7, 7, -0)).toEqual([0, 255, 128, 0, 255, 128]) // 127.5 → 128
    // (x/2 + 0.5) · 255 = k + 0.5 exactly in f32 for these sums of powers of two
    const tie = (value: number) => 2 * Math.fround(value / 255) - 1
    for (let k = 0; k < 255; k++) {
      const x = Math.fround(tie(k + 0.5))
      const scaled = Math.fround(Math.fround(Math.fround(x / 2) + 0.5) * 255)
      const want = scaled === k + 0.5 ? k + (k % 2) : Math.round(scaled)
      expect(bytesOf(x), `around ${k}.5`).toEqual([want])
    }
  })

  it('every byte comes back from its own sample', () => {
    for (let k = 0; k <= 255; k++) expect(bytesOf((k / 255) * 2 - 1)).toEqual([k])
  })

  it('planes and interleaved samples give the same pixels', () => {
    const [width, height] = [3, 2]
    const value = (y: number, x: number, c: number) => (y * 31 + x * 17 + c * 5) / 100 - 0.5
    const nhwc = new Float32Array(18)
    const nchw = new Float32Array(18)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++) {
          nhwc[(y * width + x) * 3 + c] = value(y, x, c)
          nchw[(c * height + y) * width + x] = value(y, x, c)
        }
    const picture = toPicture(nhwc, { width, height, layout: 'nhwc' })
    expect(picture).toMatchObject({ width, height, channels: 3 })
    expect(picture.pixels[(1 * width + 2) * 3 + 1]).toBe(Math.round((value(1, 2, 1) / 2 + 0.5) * 255))
    expect(toPicture(nchw, { width, height, layout: 'nchw' })).toEqual(picture)
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%s is no colour', (value) => {
    const samples = new Float32Array(2 * 3 * 3)
    samples[3 * 3 + 1 * 3 + 2] = value
    expect(() => toPicture(samples, { width: 3, height: 2, layout: 'nhwc' })).toThrow(
      `the decoded picture has ${value} at column 1, row 1`,
    )
  })

  it('a wrong number of samples', () => {
    expect(() => toPicture(new Float32Array(5), { width: 1, height: 2, layout: 'nchw' })).toThrow('5 samples')
  })
})
