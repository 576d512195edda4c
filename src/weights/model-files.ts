// A model folder as a set of files by relative path; on disk (node-files.ts) or on a server (http.ts).
import type { ByteSource } from './byte-source.ts'
import type { WeightSource } from './source.ts'

/** The components that weights belong to. */
export type Component = 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'controlnet'

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
  /** A component's weights under diffusers' names, where they do not lie in files of its folder. */
  weights?(component: Component): Promise<WeightSource>
}
