// Bytes of weight files to the element types that the engine computes with.
import { PhospheneError } from '../error.ts'
import { type FileDType, f16ToF32, f32ToF16 } from './dtype.ts'

/** A copy of `bytes` whose buffer starts aligned, where `bytes` itself is not. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : bytes.slice()
}

function bf16ToF32(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16
  return new Float32Array(words.buffer)
}

/** The elements as f32. Raises 'weights/dtype' for types that are not floats. */
export function toFloat32(bytes: Uint8Array, dtype: FileDType): Float32Array {
  switch (dtype) {
    case 'F32': {
      const b = aligned(bytes, 4)
      return new Float32Array(b.buffer, b.byteOffset, b.byteLength >>> 2)
    }
    case 'F16': {
      const b = aligned(bytes, 2)
      return f16ToF32(new Uint16Array(b.buffer, b.byteOffset, b.byteLength >>> 1))
    }
    case 'BF16': {
      const b = aligned(bytes, 2)
      return bf16ToF32(new Uint16Array(b.buffer, b.byteOffset, b.byteLength >>> 1))
    }
    case 'F64': {
      const b = aligned(bytes, 8)
      return Float32Array.from(new Float64Array(b.buffer, b.byteOffset, b.byteLength >>> 3))
    }
    default:
      throw new PhospheneError({
        code: 'weights/dtype',
        message: `a tensor of type ${dtype} where the model computes with floats`,
        fix: 'Use a checkpoint whose weights are F32, F16 or BF16.',
      })
  }
}

/** The elements as halves (bits); copied only where the type or the alignment asks for it. */
export function toFloat16(bytes: Uint8Array, dtype: FileDType): Uint16Array {
  if (dtype !== 'F16') return f32ToF16(toFloat32(bytes, dtype))
  const b = aligned(bytes, 2)
  return new Uint16Array(b.buffer, b.byteOffset, b.byteLength >>> 1)
}
