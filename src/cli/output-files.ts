// Files that appear whole or not at all, and whose place is known to be writable before any work begins.
import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname, extname, join, resolve } from 'node:path'
import { PhospheneError } from '../error.ts'

/** The files for `count` pictures: `%d` becomes the number, otherwise several get `-1`, `-2`, … before the extension. */
export function outputPaths(pattern: string, count: number): readonly string[] {
  if (extname(pattern).toLowerCase() !== '.png')
    throw new PhospheneError({
      code: 'output/unwritable',
      message: `the output ${pattern} does not end in .png, and PNG is what is written`,
      fix: 'Give a name that ends in .png.',
    })
  return Array.from({ length: count }, (_, i) => {
    if (pattern.includes('%d')) return pattern.replaceAll('%d', String(i + 1))
    if (count === 1) return pattern
    return `${pattern.slice(0, -extname(pattern).length)}-${i + 1}${extname(pattern)}`
  })
}

/** Raises 'output/unwritable' for what could not be written now. Leaves nothing behind. */
export async function checkWritable(paths: readonly string[]): Promise<void> {
  if (new Set(paths.map((path) => resolve(path))).size < paths.length)
    throw unwritable(paths[0]!, 'several results would have this name')
  for (const path of paths) {
    const there = await stat(path).catch(() => undefined)
    if (there && !there.isFile()) throw unwritable(path, 'it is there and is not a file')
    const partial = partialName(path)
    const file = await orUnwritable(path, open(partial, 'w'))
    await file.close()
    await rm(partial, { force: true })
  }
}

/** Writes all files, or none: under temporary names first, then renamed. Raises 'output/unwritable', 'aborted' from `signal`. */
export async function writeAll(
  files: readonly { readonly path: string; readonly bytes: Uint8Array }[],
  throwIfAborted: () => void,
): Promise<void> {
  try {
    for (const { path, bytes } of files) {
      throwIfAborted()
      const file = await orUnwritable(path, open(partialName(path), 'w'))
      try {
        await orUnwritable(path, file.writeFile(bytes))
      } finally {
        await file.close()
      }
    }
    throwIfAborted()
    for (const { path } of files) await orUnwritable(path, rename(partialName(path), path))
  } finally {
    for (const { path } of files) await rm(partialName(path), { force: true })
  }
}

/** Beside the file, so that renaming stays within one file system. */
function partialName(path: string): string {
  const absolute = resolve(path)
  return join(dirname(absolute), `.phosphene-${process.pid}-${absolute.slice(dirname(absolute).length + 1)}.partial`)
}

async function orUnwritable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: 'its folder does not exist',
      ENOTDIR: 'its folder is not a folder',
      EACCES: 'permission denied',
      EPERM: 'permission denied',
      EROFS: 'the file system is read-only',
      ENOSPC: 'the disk is full',
    }
    const { code, message } = error as NodeJS.ErrnoException
    throw unwritable(path, (code !== undefined && reasons[code]) || message, error)
  }
}

function unwritable(path: string, reason: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    {
      code: 'output/unwritable',
      message: `cannot write ${path}: ${reason}`,
      fix: 'Give a file name in a folder that exists and may be written to.',
    },
    { cause },
  )
}
