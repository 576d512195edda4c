// Node only: model folders and files on the local disk.
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { PhospheneError } from '../error.ts'
import { type ByteSource, checkRange, truncated } from './byte-source.ts'
import type { ModelFiles } from './model-files.ts'

/** One read call moves at most this many bytes: the system's own limit is just under 2 GiB. */
const readBytes = 2 ** 30

/** Opens one file. Raises 'model/not-found'. */
export async function openFile(path: string): Promise<ByteSource> {
  const absolute = resolve(path)
  let handle: FileHandle | undefined
  try {
    handle = await open(absolute, 'r')
    const stats = await handle.stat()
    if (stats.isFile()) return fileBytes(handle, path, absolute, stats.size)
  } catch (error) {
    await handle?.close()
    throw notFound(path, error)
  }
  await handle.close()
  throw notFound(path, new Error('it is not a file'))
}

function fileBytes(handle: FileHandle, name: string, path: string, size: number): ByteSource {
  let open = true
  const source: ByteSource = {
    name,
    path,
    size,
    async read(offset, length) {
      checkRange(source, offset, length)
      const bytes = new Uint8Array(length)
      await source.readInto(offset, bytes)
      return bytes
    },
    async readInto(offset, target) {
      checkRange(source, offset, target.length)
      let done = 0
      while (done < target.length) {
        const bytesRead = await readSome(handle, name, target.subarray(done), offset + done)
        if (bytesRead === 0)
          throw truncated(name, `the file ended at byte ${offset + done}; it had ${size} when opened`)
        done += bytesRead
      }
    },
    async close() {
      if (!open) return
      open = false
      await handle.close()
    },
  }
  return source
}

async function readSome(handle: FileHandle, name: string, target: Uint8Array, offset: number): Promise<number> {
  try {
    return (await handle.read(target, 0, Math.min(readBytes, target.length), offset)).bytesRead
  } catch (error) {
    throw new PhospheneError(
      {
        code: 'weights/truncated',
        message: `${name}: reading at byte ${offset} failed: ${reasonOf(error)}`,
        fix: 'Check the disk, and that the file stays open and unchanged while the model is in use.',
      },
      { cause: error },
    )
  }
}

/** A model folder on the local disk. Whether it exists shows when its first file is asked for. */
export function nodeFolder(path: string): ModelFiles {
  const inside = (file: string) => resolve(path, file)
  return {
    label: path,
    async exists(file) {
      const stats = await stat(inside(file)).catch(() => undefined)
      return stats?.isFile() ?? false
    },
    async text(file) {
      try {
        return await readFile(inside(file), 'utf8')
      } catch (error) {
        throw notFound(inside(file), error)
      }
    },
    open: (file) => openFile(inside(file)),
    list: (file) => readdir(inside(file)).catch(() => []),
  }
}

function notFound(path: string, error: unknown): PhospheneError {
  return new PhospheneError(
    {
      code: 'model/not-found',
      message: `cannot open ${path}: ${reasonOf(error)}`,
      fix: 'Check the path; a model is a diffusers folder with model_index.json in it, or a checkpoint in one .safetensors file.',
    },
    { cause: error },
  )
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT') return 'there is no such file'
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return (error as Error).message
}
