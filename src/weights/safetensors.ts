// .safetensors files: opened as a weight source that reads tensor by tensor, and made in memory.
import { PhospheneError } from '../error.ts'
import { bytesPerElement, type FileDType } from '../tensor/dtype.ts'
import type { ByteSource } from './byte-source.ts'
import { type HeaderEntry, headerLength, lengthBytes, parseHeader } from './safetensors-header.ts'
import { missing, type TensorInfo, type WeightSource } from './source.ts'

export interface SafetensorsSource extends WeightSource {
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Reads and checks the header; tensors are read when asked for. The source owns `bytes` from here on, also when this fails.
 * Raises 'weights/truncated', 'weights/header', 'weights/dtype', each naming file, tensor and both values.
 */
export async function openSafetensors(bytes: ByteSource): Promise<SafetensorsSource> {
  try {
    const start = await bytes.read(0, Math.min(lengthBytes, bytes.size))
    const length = headerLength(bytes.name, start, bytes.size)
    const { entries, metadata } = parseHeader(bytes.name, await bytes.read(lengthBytes, length), bytes.size)
    return safetensorsSource(bytes, entries, metadata)
  } catch (error) {
    await bytes.close()
    throw error
  }
}

function safetensorsSource(
  bytes: ByteSource,
  entries: readonly HeaderEntry[],
  metadata: Readonly<Record<string, string>>,
): SafetensorsSource {
  const tensors = new Map(entries.map((entry) => [entry.name, entry]))
  return {
    label: bytes.name,
    metadata,
    tensors,
    async read(name) {
      const entry = tensors.get(name) ?? missing(bytes.name, name)
      return bytes.read(entry.offset, entry.byteLength)
    },
    async readInto(name, offset, target) {
      const entry = tensors.get(name) ?? missing(bytes.name, name)
      checkPart(entry, offset, target.length)
      return bytes.readInto(entry.offset + offset, target)
    },
    locate(name) {
      const entry = tensors.get(name)
      if (!entry || bytes.path === undefined) return undefined
      return { path: bytes.path, offset: entry.offset, length: entry.byteLength }
    },
    close: () => bytes.close(),
  }
}

/** A part that reaches beyond its tensor would read the next one's bytes. */
function checkPart({ name, byteLength }: HeaderEntry, offset: number, length: number): void {
  if (offset >= 0 && offset + length <= byteLength) return
  throw new PhospheneError({
    code: 'internal',
    message: `tensor ${name}: bytes ${offset} to ${offset + length} are asked for, it has ${byteLength}`,
    fix: 'Report this, with the command that led to it.',
  })
}

/** A tensor to write: its name, type and shape; its bytes come separately. */
export type TensorHeader = Omit<TensorInfo, 'byteLength'>

export interface TensorEntry extends TensorHeader {
  /** Row-major, little-endian. */
  readonly bytes: Uint8Array
}

export interface SafetensorsLayout {
  /** Length field and header, padded so that the tensors start at a multiple of 8. */
  readonly head: Uint8Array
  /** In the order in which their bytes follow the head. */
  readonly order: readonly TensorInfo[]
  readonly fileBytes: number
}

/** Wide types first, then by name, as the format's own library writes: so each tensor is aligned to its element. */
export function layoutSafetensors(
  tensors: readonly TensorHeader[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  const order = tensors
    .map(({ name, dtype, shape }) => ({ name, dtype, shape, byteLength: bytesOf(dtype, shape) }))
    .sort((a, b) => bytesPerElement[b.dtype] - bytesPerElement[a.dtype] || (a.name < b.name ? -1 : 1))
  const entries: [string, unknown][] = []
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata])
  let end = 0
  for (const { name, dtype, shape, byteLength } of order) {
    entries.push([name, { dtype, shape, data_offsets: [end, end + byteLength] }])
    end += byteLength
  }
  const json = new TextEncoder().encode(
    `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`,
  )
  const headerBytes = Math.ceil(json.length / 8) * 8
  const head = new Uint8Array(lengthBytes + headerBytes).fill(0x20)
  new DataView(head.buffer).setBigUint64(0, BigInt(headerBytes), true)
  head.set(json, lengthBytes)
  return { head, order, fileBytes: head.length + end }
}

function bytesOf(dtype: FileDType, shape: readonly number[]): number {
  return shape.reduce((product, each) => product * each, bytesPerElement[dtype])
}

/** A whole file in memory, for small ones; `writeSafetensorsFile` streams large ones. */
export function writeSafetensors(
  tensors: readonly TensorEntry[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const { head, order, fileBytes } = layoutSafetensors(tensors, metadata)
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const file = new Uint8Array(fileBytes)
  file.set(head)
  let end = head.length
  for (const info of order) {
    file.set(checkedBytes(info, byName.get(info.name)!.bytes), end)
    end += info.byteLength
  }
  return file
}

/** The bytes, if there are as many as the shape takes; raises 'internal' otherwise. */
export function checkedBytes(info: TensorInfo, bytes: Uint8Array): Uint8Array {
  if (bytes.length === info.byteLength) return bytes
  throw new PhospheneError({
    code: 'internal',
    message: `tensor ${info.name}: [${info.shape}] of ${info.dtype} takes ${info.byteLength} bytes, given ${bytes.length}`,
    fix: 'Report this, with the command that led to it.',
  })
}
