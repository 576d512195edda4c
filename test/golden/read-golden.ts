// What every golden test needs: the reference tensors, the list of cases and the marks they must meet.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const goldenFolder = fileURLToPath(new URL('./data/', import.meta.url))

export type GoldenArray =
  | Float64Array
  | Float32Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array

export interface GoldenTensor {
  readonly shape: readonly number[]
  /** As safetensors names it: F32, F16 (raw bits), I64, … */
  readonly dtype: string
  readonly data: GoldenArray
}

export interface Mark {
  readonly max_abs: number
  readonly rel: number
}

export interface GoldenCase {
  readonly id: string
  readonly component: string
  readonly model?: string
  readonly sub?: string
  readonly file: string
  readonly inputs: Readonly<Record<string, string>>
  readonly outputs: Readonly<Record<string, string>>
  // biome-ignore lint/suspicious/noExplicitAny: each component has its own settings, described in the data's README
  readonly settings: Readonly<Record<string, any>>
  readonly marks: Readonly<Record<string, { shape: number[]; rms: number; f32: Mark; f16?: Mark }>>
}

const arrayTypes = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U32: Uint32Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
  I8: Int8Array,
} as const

/** All tensors of a safetensors file, its path relative to the golden folder (or absolute). */
export function readGolden(file: string): Map<string, GoldenTensor> {
  const bytes = new Uint8Array(readFileSync(file.startsWith('/') ? file : goldenFolder + file))
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)))
  const tensors = new Map<string, GoldenTensor>()
  for (const [key, { dtype, shape, data_offsets: range }] of Object.entries<{
    dtype: keyof typeof arrayTypes
    shape: number[]
    data_offsets: [number, number]
  }>(header)) {
    if (key === '__metadata__') continue
    const start = 8 + headerBytes
    const data = new arrayTypes[dtype](bytes.buffer.slice(start + range[0], start + range[1]))
    tensors.set(key, { shape, dtype, data })
  }
  return tensors
}

/** The cases of index.json, all or those of one component. */
export function loadIndex(component?: string): readonly GoldenCase[] {
  const { cases } = JSON.parse(readFileSync(`${goldenFolder}index.json`, 'utf8')) as { cases: GoldenCase[] }
  return component === undefined ? cases : cases.filter((each) => each.component === component)
}

export interface Comparison {
  readonly maxAbs: number
  /** rms(got − ref) / rms(ref), both in float64. */
  readonly rel: number
  /** Where the largest difference is. */
  readonly worstIndex: number
  readonly pass: boolean
  /** One line for a failing test's message. */
  readonly text: string
}

/** Compares in float64; an all-zero reference has no relative error, so only `max_abs` counts there. NaN never passes. */
export function within(got: ArrayLike<number>, ref: ArrayLike<number>, mark: Mark): Comparison {
  let [maxAbs, squares, refSquares, worstIndex] = [0, 0, 0, 0]
  for (let i = 0; i < ref.length; i++) {
    const difference = Math.abs(got[i]! - ref[i]!)
    if (!(difference <= maxAbs)) {
      maxAbs = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
      worstIndex = i
    }
    squares += difference * difference
    refSquares += ref[i]! * ref[i]!
  }
  const rel = refSquares === 0 ? 0 : Math.sqrt(squares / refSquares)
  const pass = got.length === ref.length && maxAbs <= mark.max_abs && rel <= mark.rel
  const text =
    got.length === ref.length
      ? `max_abs ${maxAbs.toExponential(2)} (mark ${mark.max_abs}), rel ${rel.toExponential(2)} (mark ${mark.rel}), ` +
        `worst at ${worstIndex}: got ${got[worstIndex]}, reference ${ref[worstIndex]}`
      : `got ${got.length} values, reference has ${ref.length}`
  return { maxAbs, rel, worstIndex, pass, text }
}
