// A model folder as a set of files by relative path; on disk (node-files.ts) or on a server (http.ts).
import type { ByteSource } from './byte-source.ts'

export interface ModelFiles {
  /** Path or address, for messages. */
  readonly label: string
  /** @param path relative to the folder, with forward slashes */
  exists(path: string): Promise<boolean>
  /** The whole file as UTF-8. Raises 'model/not-found'. */
  text(path: string): Promise<string>
  /** Raises 'model/not-found'. */
  open(path: string): Promise<ByteSource>
  /** Names of the files in a sub-folder, where that can be known (not over HTTP). */
  list?(path: string): Promise<readonly string[]>
}
