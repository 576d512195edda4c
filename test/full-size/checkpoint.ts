// The full-size checkpoint (2.1 GB) that the tests here load: made once, kept in the project's cache folder.
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeFullSize } from '../../tools/make-full-size.ts'

/** Its folder; PHOSPHENE_FULL_SIZE names another one. Written first where it is absent (a minute or two). */
export async function fullSizeCheckpoint(): Promise<string> {
  const folder = process.env.PHOSPHENE_FULL_SIZE ?? fileURLToPath(new URL('../../.cache/full-size', import.meta.url))
  if (existsSync(folder)) return folder
  // Renamed when complete: what a stopped run leaves behind is not taken for a checkpoint.
  const fresh = `${folder}.${process.pid}`
  await mkdir(dirname(folder), { recursive: true })
  try {
    await makeFullSize(fresh)
    await rename(fresh, folder)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return folder
}
