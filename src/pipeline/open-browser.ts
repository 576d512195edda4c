// Opening a pipeline in the browser: a folder on a server, the GPU through navigator.gpu.
import { openDevice } from '../device/browser.ts'
import { browserTuningStore } from '../run/tuning-store.ts'
import { httpFolder } from '../weights/http.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { webgpuBackend } from './backend.ts'
import { type CommonOptions, openTextToImage } from './open.ts'
import type { TextToImage } from './text-to-image.ts'
import { tunerFor } from './tuning.ts'

export type OpenOptions = CommonOptions

/**
 * A pipeline for a model: the address of a diffusers folder, or files from elsewhere. Raises 'model/…', 'tokenizer/…',
 * 'weights/http' and 'device/none'. Weights are loaded when the first picture is drawn.
 */
export async function openPipeline(model: string | ModelFiles, options: OpenOptions = {}): Promise<TextToImage> {
  const files = typeof model === 'string' ? httpFolder(model) : model
  const open = async () => {
    const device = await openDevice()
    return webgpuBackend(device, options.optimisations, tunerFor(device, options, browserTuningStore))
  }
  return openTextToImage(files, options.dtype, open, options)
}
