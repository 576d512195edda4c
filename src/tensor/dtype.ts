// Element types of files and buffers, and the conversions between them.

/** Element types that weight files hold. */
export type FileDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL'

/** How the engine stores a float value: 4 or 2 bytes an element. Arithmetic is f32 in both. */
export type StorageDType = 'f32' | 'f16'

export const bytesPerElement: Record<FileDType, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
}

const scratchF32 = new Float32Array(4096)
const scratchU32 = new Uint32Array(scratchF32.buffer)

/** The half nearest to the f32 with these bits. */
function roundToF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const exponent = (bits >>> 23) & 0xff
  const half = exponent - 112
  if (half > 0 && half < 31) {
    // Adding half a unit of the last kept bit, less one where that bit is 0, rounds ties to even; a carry moves the exponent.
    const magnitude = (bits & 0x7fffffff) - 0x38000000
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  }
  const mantissa = bits & 0x7fffff
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 | (mantissa >>> 13) : 0)
  if (half >= 31) return sign | 0x7c00
  if (half < -10) return sign
  const full = mantissa | 0x800000
  const shift = 14 - half
  const kept = full >>> shift
  const rest = full & ((1 << shift) - 1)
  const middle = 1 << (shift - 1)
  return sign | (kept + (rest > middle || (rest === middle && kept & 1) ? 1 : 0))
}

/** The IEEE half nearest to `value` (ties to even), as its 16 bits. Overflow gives infinity. */
export function toF16Bits(value: number): number {
  scratchF32[0] = value
  return roundToF16(scratchU32[0]!)
}

const f16Table = (() => {
  const table = new Float32Array(65536)
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31
    const mantissa = bits & 0x3ff
    const magnitude =
      exponent === 31
        ? mantissa
          ? Number.NaN
          : Number.POSITIVE_INFINITY
        : exponent === 0
          ? mantissa * 2 ** -24
          : (1 + mantissa / 1024) * 2 ** (exponent - 15)
    table[bits] = bits & 0x8000 ? -magnitude : magnitude
  }
  return table
})()

/** The value of an IEEE half given as its 16 bits. */
export function fromF16Bits(bits: number): number {
  return f16Table[bits & 0xffff]!
}

/** Halves (as bits) to floats. */
export function f16ToF32(bits: Uint16Array, out = new Float32Array(bits.length)): Float32Array {
  for (let i = 0; i < bits.length; i++) out[i] = f16Table[bits[i]!]!
  return out
}

/** Floats to the nearest halves, as bits. */
export function f32ToF16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array {
  for (let start = 0; start < values.length; start += scratchF32.length) {
    const block = values.subarray(start, start + scratchF32.length)
    scratchF32.set(block)
    for (let i = 0; i < block.length; i++) out[start + i] = roundToF16(scratchU32[i]!)
  }
  return out
}
