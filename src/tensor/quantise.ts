// Weights in fewer bits: signed integers, and for each block along k of each column one scale as a half. docs/quantised-weights.md
// tells the layout and the rule, which kernels, files and the host share.
//   value = q · scale / levels, q in −levels … levels − 1; the number of largest magnitude in the block becomes −levels.
// Scales have so few significant bits that every value is a half exactly: whoever computes in f16, f32 or f64 computes from
// the same numbers. No scale is below the smallest normal half, since devices may flush what is.
import { fromF16Bits, toF16Bits } from './dtype.ts'

export const quantisedFormats = ['int8', 'int4'] as const
export type QuantisedFormat = (typeof quantisedFormats)[number]

/** How weights of products, convolutions and token tables are stored; 'f16' is not quantised. */
export type WeightFormat = 'f16' | QuantisedFormat

export interface QuantisedRule {
  readonly bits: 8 | 4
  /** Numbers of a column, neighbours along k, that share a scale. */
  readonly block: number
  readonly levels: number
  /** Significant bits of a scale: with those of q no more than a half has. */
  readonly scaleBits: number
}

export const quantisedRules: Readonly<Record<QuantisedFormat, QuantisedRule>> = {
  int8: { bits: 8, block: 32, levels: 128, scaleBits: 4 },
  int4: { bits: 4, block: 32, levels: 8, scaleBits: 8 },
}

export function isQuantised(format: string | undefined): format is QuantisedFormat {
  return format === 'int8' || format === 'int4'
}

export interface QuantisedTensor {
  readonly format: QuantisedFormat
  readonly shape: readonly number[]
  /** The integers, in the tensor's own order. */
  readonly values: Int8Array
  /** [columns][blocks], halves as bits. */
  readonly scales: Uint16Array
}

/** Of a source whose file holds integers: `read` of the source gives the halves that they stand for. */
export interface QuantisedTensors {
  readonly format: QuantisedFormat
  has(name: string): boolean
  read(name: string): Promise<QuantisedTensor>
}

/**
 * A weight [n, c] or [n, c, kh, kw] as a matrix: n columns, k over (ky, kx, c) with c padded to a multiple of four, as products and
 * convolutions run through it. Of a token table a column is a token.
 */
export interface WeightMatrix {
  readonly columns: number
  /** Length of k, padded. */
  readonly rows: number
}

export function matrixOf(shape: readonly number[]): WeightMatrix {
  const [columns, channels, ...taps] = shape as [number, number, ...number[]]
  return { columns, rows: taps.reduce((product, size) => product * size, Math.ceil(channels / 4) * 4) }
}

export function blocksOf(format: QuantisedFormat, shape: readonly number[]): number {
  return Math.ceil(matrixOf(shape).rows / quantisedRules[format].block)
}

/** Every element once: start, start + step, … (`count` of them) have the scale `slot` of [columns][blocks]. */
function forRuns(
  format: QuantisedFormat,
  shape: readonly number[],
  run: (start: number, step: number, count: number, slot: number) => void,
): void {
  const { rows, columns } = matrixOf(shape)
  const blocks = blocksOf(format, shape)
  const { block } = quantisedRules[format]
  const channels = shape[1]!
  const padded = Math.ceil(channels / 4) * 4
  const taps = rows / padded
  for (let column = 0; column < columns; column++)
    for (let tap = 0; tap < taps; tap++)
      for (let channel = 0; channel < channels; ) {
        const row = tap * padded + channel
        const count = Math.min(channels - channel, block - (row % block))
        const start = (column * channels + channel) * taps + tap
        run(start, taps, count, column * blocks + Math.floor(row / block))
        channel += count
      }
}

const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** The scale of a block whose number of largest magnitude is `extreme`; not a number where that is not finite. */
function scaleFor(extreme: number, { scaleBits }: QuantisedRule): number {
  if (!Number.isFinite(extreme)) return Number.NaN
  float[0] = Math.max(Math.abs(extreme), 2 ** -14)
  const dropped = 2 ** (24 - scaleBits) - 1
  floatBits[0] = (floatBits[0]! + dropped) & ~dropped
  const magnitude = Math.min(float[0]!, 2 ** 16 * (1 - 2 ** -scaleBits))
  return extreme > 0 ? -magnitude : magnitude
}

/** A block with a number that is not finite stays so: its scale is NaN. */
export function quantise(values: Float32Array, format: QuantisedFormat, shape: readonly number[]): QuantisedTensor {
  const rule = quantisedRules[format]
  const { levels } = rule
  const scales = new Uint16Array(matrixOf(shape).columns * blocksOf(format, shape))
  const extremes = new Float32Array(scales.length)
  forRuns(format, shape, (start, step, count, slot) => {
    let [extreme, most] = [extremes[slot]!, Math.abs(extremes[slot]!)]
    for (let i = 0, at = start; i < count; i++, at += step) {
      const value = values[at]!
      const magnitude = Math.abs(value)
      // Of two with opposite signs the positive one, whatever their order. NaN, which is not below anything, stays.
      if (magnitude < most || (magnitude === most && value <= extreme) || Number.isNaN(most)) continue
      extreme = value
      most = magnitude
    }
    extremes[slot] = extreme
  })
  const steps = new Float64Array(scales.length)
  for (let slot = 0; slot < scales.length; slot++) {
    const scale = scaleFor(extremes[slot]!, rule)
    scales[slot] = toF16Bits(scale)
    steps[slot] = levels / scale
  }
  const integers = new Int8Array(values.length)
  forRuns(format, shape, (start, step, count, slot) => {
    const perUnit = steps[slot]!
    for (let i = 0, at = start; i < count; i++, at += step) {
      const nearest = Math.floor(values[at]! * perUnit + 0.5)
      integers[at] = nearest < levels ? Math.max(nearest, -levels) : levels - 1
    }
  })
  return { format, shape, values: integers, scales }
}

/** The numbers that the integers stand for. */
export function dequantise({ format, shape, values, scales }: QuantisedTensor): Float32Array {
  const { levels } = quantisedRules[format]
  const floats = new Float32Array(values.length)
  forRuns(format, shape, (start, step, count, slot) => {
    const unit = fromF16Bits(scales[slot]!) / levels
    for (let i = 0, at = start; i < count; i++, at += step) floats[at] = values[at]! * unit
  })
  return floats
}

/** Integers of four bits two a byte, the first in the low half. */
export function packNibbles(values: Int8Array, target = new Uint8Array(Math.ceil(values.length / 2))): Uint8Array {
  for (let i = 0, at = 0; i < values.length; i += 2) target[at++] = (values[i]! & 15) | ((values[i + 1]! & 15) << 4)
  return target
}

export function unpackNibbles(bytes: Uint8Array, count: number): Int8Array {
  const values = new Int8Array(count)
  for (let i = 0; i < count; i++) values[i] = i % 2 === 0 ? (bytes[i >> 1]! << 28) >> 28 : (bytes[i >> 1]! << 24) >> 28
  return values
}
