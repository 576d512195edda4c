// A model by its path: a diffusers folder, or a checkpoint in one file; a VAE of its own in either. Node only.
import { readFile } from 'node:fs/promises'
import { PhospheneError } from '../error.ts'
import { openComponent } from '../weights/folder.ts'
import { vaeFile } from '../weights/ldm-names.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { nodeFolder, openFile } from '../weights/node-files.ts'
import { openSafetensors } from '../weights/safetensors.ts'
import { viewOrClose } from '../weights/source.ts'
import { isSingleFile, singleFile } from './single-file.ts'

export interface ModelParts {
  /** For a checkpoint in one file: a diffusers folder whose configs, scheduler and tokenizer are used. */
  readonly config?: string | undefined
  /** A VAE in a file of its own (.safetensors), in place of the model's. */
  readonly vae?: string | undefined
}

/** Looks at a VAE's file before anything is drawn. Raises 'model/not-found', 'weights/missing-key' and what openSafetensors raises. */
export async function checkVae(path: string): Promise<void> {
  const source = await openVae(path)
  await source.close()
}

const openVae = async (path: string) => viewOrClose(await openSafetensors(await openFile(path)), vaeFile)

/** Raises 'options/invalid' for configs beside a folder, which has its own. What is missing shows when it is asked for. */
export function nodeModel(path: string, { config, vae }: ModelParts = {}): ModelFiles {
  if (isSingleFile(path))
    return singleFile(path, () => openFile(path), {
      config: config === undefined ? undefined : nodeFolder(config),
      vae: vae === undefined ? undefined : () => openFile(vae),
      merges: () => readFile(new URL('../../models/clip-tokenizer/merges.txt', import.meta.url), 'utf8'),
    })
  if (config !== undefined)
    throw new PhospheneError({
      code: 'options/invalid',
      message: `a config folder was named beside ${path}, which is a folder with configs of its own`,
      fix: 'Leave the config out; it is for checkpoints in one .safetensors file.',
    })
  const folder = nodeFolder(path)
  if (vae === undefined) return folder
  return {
    ...folder,
    weights: async (component) => (component === 'vae' ? openVae(vae) : openComponent(folder, component)),
  }
}
