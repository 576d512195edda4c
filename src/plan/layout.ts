// How tensors lie in buffers: rows of channel groups of four. Packs and unpacks host values at the edges.
import type { Shape } from '../graph/op.ts'
import type { Elements, Storage } from '../kernels/family.ts'
import { f32ToF16, fromF16Bits, type StorageDType } from '../tensor/dtype.ts'
import { isQuantised, quantisedRules } from '../tensor/quantise.ts'

/** Bytes of one channel group (four elements; of integers without their scales), or of one element for 'int'. */
export const groupBytes: Record<Storage, number> = { f32: 16, f16: 8, 'f16-packed': 8, int: 4, int8: 4, int4: 2 }

export interface RowLayout {
  readonly rows: number
  readonly channels: number
  readonly groups4: number
}

export function rowLayout(shape: Shape): RowLayout {
  const channels = shape.at(-1) ?? 1
  let rows = 1
  for (const d of shape.slice(0, -1)) rows *= d
  return { rows, channels, groups4: Math.ceil(channels / 4) }
}

export function storageBytes(shape: Shape, storage: Storage): number {
  const { rows, channels, groups4 } = rowLayout(shape)
  const bytes = (storage === 'int' ? rows * channels : rows * groups4) * groupBytes[storage]
  // A scale, two bytes, serves a block.
  return isQuantised(storage) ? bytes + Math.ceil((rows * groups4 * 4) / quantisedRules[storage].block) * 2 : bytes
}

/** How floats are stored on a device: halves need no shader-f16, only other loads and stores. */
export function floatStorage(dtype: StorageDType, shaderF16: boolean): Storage {
  return dtype === 'f32' ? 'f32' : shaderF16 ? 'f16' : 'f16-packed'
}

/** Copies rows into rows of padded groups. */
export function padRows(source: Elements, { rows, channels, groups4 }: RowLayout, target: Elements): void {
  const padded = groups4 * 4
  if (padded === channels) {
    target.set(source)
    return
  }
  for (let r = 0; r < rows; r++) target.set(source.subarray(r * channels, (r + 1) * channels), r * padded)
}

/** Host values as the bytes of a buffer. */
export function packTensor(
  values: Float32Array | Int32Array,
  shape: Shape,
  storage: Storage,
): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  if (storage === 'int') return Int32Array.from(values)
  const layout = rowLayout(shape)
  const floats = values instanceof Float32Array ? values : Float32Array.from(values)
  const padded = new Float32Array(layout.rows * layout.groups4 * 4)
  padRows(floats, layout, padded)
  return storage === 'f32' ? padded : (f32ToF16(padded) as Uint16Array<ArrayBuffer>)
}

/** A buffer's bytes as host values. `stride4` and `offset4`: the tensor may be a part of wider rows. */
export function unpackTensor(
  bytes: ArrayBuffer,
  shape: Shape,
  storage: Storage,
  stride4 = rowLayout(shape).groups4,
  offset4 = 0,
): Float32Array {
  const { rows, channels } = rowLayout(shape)
  const values = new Float32Array(rows * channels)
  // Element by element: a view of each row would cost ten times its copy where rows are short, as a picture's are.
  if (storage === 'f32') {
    const all = new Float32Array(bytes)
    for (let r = 0, to = 0; r < rows; r++)
      for (let c = 0, from = (offset4 + r * stride4) * 4; c < channels; c++) values[to++] = all[from++]!
    return values
  }
  const halves = new Uint16Array(bytes)
  for (let r = 0, to = 0; r < rows; r++)
    for (let c = 0, from = (offset4 + r * stride4) * 4; c < channels; c++) values[to++] = fromF16Bits(halves[from++]!)
  return values
}
