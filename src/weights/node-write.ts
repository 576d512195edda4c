// Node only: .safetensors files of any size, written tensor by tensor. A file appears whole or not at all.
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { PhospheneError } from '../error.ts'
import { checkedBytes, layoutSafetensors, type TensorHeader } from './safetensors.ts'

export interface LazyTensor extends TensorHeader {
  /** Called once, when its turn to be written comes. */
  bytes(): Promise<Uint8Array> | Uint8Array
}

/** Writes to a temporary name beside `path`, then renames. Raises 'output/unwritable'; what `bytes` raises passes through. */
export async function writeSafetensorsFile(
  path: string,
  tensors: readonly LazyTensor[],
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const { head, order } = layoutSafetensors(tensors, metadata)
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const partial = `${path}.${process.pid}.partial`
  const file = await orUnwritable(path, open(partial, 'w'))
  try {
    try {
      await writeAll(path, file, head)
      for (const info of order) await writeAll(path, file, checkedBytes(info, await byName.get(info.name)!.bytes()))
    } finally {
      await orUnwritable(path, file.close())
    }
    await orUnwritable(path, rename(partial, path))
  } catch (error) {
    await unlink(partial).catch(() => {}) // the first error is the one to tell
    throw error
  }
}

/** FileHandle.write may write less than it is given. */
async function writeAll(path: string, file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await orUnwritable(path, file.write(bytes, done, Math.min(bytes.length - done, 2 ** 30)))
    done += bytesWritten
  }
}

async function orUnwritable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new PhospheneError(
      {
        code: 'output/unwritable',
        message: `cannot write ${path}: ${(error as Error).message}`,
        fix: 'Check that the folder exists, that you may write there, and that the disk has room.',
      },
      { cause: error },
    )
  }
}
