// Random access to the bytes of one file, wherever it lies. What the bytes mean is the format readers' business.
import { PhospheneError } from '../error.ts'

export interface ByteSource {
  /** In bytes. */
  readonly size: number
  /** For messages. */
  readonly name: string
  /** Absolute path, for files on the local disk: lets an executor map the file instead of reading it. */
  readonly path?: string
  /** Exactly `length` bytes, or a PhospheneError. */
  read(offset: number, length: number): Promise<Uint8Array>
  /** Fills `target` with the bytes from `offset` on, or a PhospheneError. */
  readInto(offset: number, target: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** Raises 'weights/truncated' unless [offset, offset + length) lies inside the file. */
export function checkRange(source: Pick<ByteSource, 'name' | 'size'>, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= source.size) return
  throw truncated(source.name, `bytes ${offset} to ${offset + length} are asked for, the file has ${source.size}`)
}

/** A file that ends too early. */
export function truncated(name: string, reason: string): PhospheneError {
  return new PhospheneError({
    code: 'weights/truncated',
    message: `${name}: ${reason}`,
    fix: 'Download or copy the file again; compare its size with the original.',
  })
}

/** A file that is in memory already. */
export function memoryBytes(name: string, bytes: Uint8Array): ByteSource {
  const source: ByteSource = {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange(source, offset, length)
      return bytes.subarray(offset, offset + length)
    },
    async readInto(offset, target) {
      target.set(await source.read(offset, target.length))
    },
    async close() {},
  }
  return source
}
