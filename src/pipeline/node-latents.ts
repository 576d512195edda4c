// Latents files on the local disk. Node only.
import { openFile } from '../weights/node-files.ts'
import { decodeLatents } from './latents-file.ts'
import type { Latents } from './options.ts'

export { encodeLatents } from './latents-file.ts'

/** Raises 'model/not-found' where there is no such file, and what `decodeLatents` raises. */
export async function loadLatents(path: string): Promise<Latents> {
  return decodeLatents(await openFile(path))
}
