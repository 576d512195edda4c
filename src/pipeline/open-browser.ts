// Opening a pipeline in the browser: a folder or a file on a server or a file that a person picked, the GPU through navigator.gpu.
import { openDevice } from '../device/browser.ts'
import { browserTuningStore } from '../run/tuning-store.ts'
import { blobBytes } from '../weights/blob.ts'
import { httpFolder, openUrl } from '../weights/http.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { webgpuBackend } from './backend.ts'
import { type CommonOptions, openTextToImage } from './open.ts'
import { isSingleFile, singleFile } from './single-file.ts'
import type { TextToImage } from './text-to-image.ts'
import { tunerFor } from './tuning.ts'

export interface OpenOptions extends CommonOptions {
  /** For a checkpoint in one file: the address of a diffusers folder whose configs, scheduler and tokenizer are used. */
  readonly config?: string | undefined
}

/**
 * A pipeline for a model: the address of a diffusers folder or of a checkpoint in one .safetensors file, such a file itself, or files
 * from elsewhere. Raises 'model/…', 'tokenizer/…', 'weights/http' and 'device/none'. Weights are loaded when the first picture is
 * drawn, tensor by tensor.
 */
export async function openPipeline(model: string | File | ModelFiles, options: OpenOptions = {}): Promise<TextToImage> {
  const files = modelOf(model, options.config)
  const open = async () => {
    const device = await openDevice()
    return webgpuBackend(device, options.optimisations, tunerFor(device, options, browserTuningStore))
  }
  return openTextToImage(files, options.dtype, open, options)
}

function modelOf(model: string | File | ModelFiles, config: string | undefined): ModelFiles {
  const options = { config: config === undefined ? undefined : httpFolder(config), merges }
  if (typeof model === 'string')
    return isSingleFile(model) ? singleFile(model, () => openUrl(model), options) : httpFolder(model)
  if (model instanceof File) return singleFile(model.name, async () => blobBytes(model, model.name), options)
  return model
}

/** CLIP's merges, which come with the package. */
async function merges(): Promise<string> {
  const url = new URL('../../models/clip-tokenizer/merges.txt', import.meta.url)
  const source = await openUrl(url.href)
  return new TextDecoder().decode(await source.read(0, source.size))
}
