// A File or Blob of the browser as a byte source; slices are read when asked for.
import { PhospheneError } from '../error.ts'
import { type ByteSource, checkRange } from './byte-source.ts'

export function blobBytes(blob: Blob, name: string): ByteSource {
  const source: ByteSource = {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(source, offset, length)
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
      } catch (error) {
        // Browsers refuse a File that changed on disk since it was picked.
        throw new PhospheneError(
          {
            code: 'weights/truncated',
            message: `${name}: reading bytes ${offset} to ${offset + length} failed: ${(error as Error).message}`,
            fix: 'Choose the file again; it must not change while it is in use.',
          },
          { cause: error },
        )
      }
    },
    async readInto(offset, target) {
      target.set(await source.read(offset, target.length))
    },
    async close() {},
  }
  return source
}
