// Latents as .safetensors files: f32, one tensor called `latents`, [pictures, channels, h, w].
import { PhospheneError } from '../error.ts'
import { toFloat32 } from '../tensor/convert.ts'
import type { ByteSource } from '../weights/byte-source.ts'
import { openSafetensors, writeSafetensors } from '../weights/safetensors.ts'
import type { Latents } from './options.ts'

const key = 'latents'

export function encodeLatents({ shape, values }: Latents): Uint8Array {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  return writeSafetensors([{ name: key, dtype: 'F32', shape, bytes }])
}

/** Raises 'latents/file' for a file without fitting latents, and what opening a .safetensors file raises. */
export async function decodeLatents(file: ByteSource): Promise<Latents> {
  const source = await openSafetensors(file)
  try {
    const tensor = source.tensors.get(key)
    const found = [...source.tensors.keys()].join(', ') || 'nothing'
    if (!tensor) throw latentsError(`${source.label} has no tensor called ${key}, only ${found}`)
    const { shape } = tensor
    if (shape.length !== 4) throw latentsError(`${source.label}: ${key} is [${shape}]`)
    if (tensor.dtype !== 'F32') throw latentsError(`${source.label}: ${key} is ${tensor.dtype}, not F32`)
    const values = toFloat32(await source.read(key), tensor.dtype)
    return { shape: shape as unknown as Latents['shape'], values }
  } finally {
    await source.close()
  }
}

function latentsError(message: string): PhospheneError {
  return new PhospheneError({
    code: 'latents/file',
    message,
    fix: `Give a .safetensors file with one F32 tensor ${key} of [pictures, channels, height, width], as --save-latents writes.`,
  })
}
