// What a VAE decodes to, as bytes, and back. Where the samples come from and what becomes of the bytes is others' business.
import { PhospheneError } from '../error.ts'

export interface Picture {
  readonly width: number
  readonly height: number
  readonly channels: 3 | 4
  /** [height, width, channels] */
  readonly pixels: Uint8Array
}

export interface SampleShape {
  readonly width: number
  readonly height: number
  /** Where the three channels lie: innermost, or as planes. */
  readonly layout: 'nhwc' | 'nchw'
}

/**
 * One decoded image, about −1 … 1, as 8-bit RGB: `round((x / 2 + 0.5).clamp(0, 1) * 255)` in f32 with ties to even, as torch
 * and numpy do it (diffusers: image_processor.py). Raises 'latents/not-finite' for NaN and infinity.
 */
export function toPicture(samples: Float32Array, { width, height, layout }: SampleShape): Picture {
  const area = width * height
  if (samples.length !== 3 * area)
    throw new PhospheneError({
      code: 'internal',
      message: `${samples.length} samples are no picture of ${width}×${height}×3`,
      fix: 'Report this, with the command that led to it.',
    })
  const [pixelStride, channelStride] = layout === 'nhwc' ? [3, 1] : [1, area]
  const pixels = new Uint8Array(3 * area)
  for (let i = 0; i < area; i++)
    for (let c = 0; c < 3; c++) {
      const x = samples[i * pixelStride + c * channelStride]!
      if (x - x !== 0) throw notFinite(x, i % width, Math.floor(i / width))
      pixels[3 * i + c] = toByte(x)
    }
  return { width, height, channels: 3, pixels }
}

/** Adding it leaves no place for what lies behind the point in an f32: the sum is rounded to a whole number, ties to even. */
const wholeNumbers = 1.5 * 2 ** 23

function toByte(x: number): number {
  const unit = Math.fround(Math.fround(x / 2) + 0.5)
  const clamped = unit < 0 ? 0 : unit > 1 ? 1 : unit
  return Math.fround(Math.fround(clamped * 255) + wholeNumbers) - wholeNumbers
}

function notFinite(value: number, x: number, y: number): PhospheneError {
  return new PhospheneError({
    code: 'latents/not-finite',
    message: `the decoded picture has ${value} at column ${x}, row ${y}`,
    fix: 'Run with --dtype f32: the VAE of some models overflows in f16.',
  })
}
