// Opening a pipeline in the browser: a folder on a server, the GPU through navigator.gpu.
import { openDevice } from '../device/browser.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import { httpFolder } from '../weights/http.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { webgpuBackend } from './backend.ts'
import { type DTypeChoice, openTextToImage } from './open.ts'
import type { TextToImage } from './text-to-image.ts'

export interface OpenOptions {
  readonly dtype?: DTypeChoice | undefined
  /** Bytes for everything but weights: intermediates and what lives across steps. No limit unless given. */
  readonly memoryBytes?: number | undefined
  /**
   * How weights of convolutions, products and token tables are stored on the device: 'int8' and 'int4' take half and a quarter
   * of f16's bytes. As the files have them unless given.
   */
  readonly weights?: WeightFormat | undefined
}

/**
 * A pipeline for a model: the address of a diffusers folder, or files from elsewhere. Raises 'model/…', 'tokenizer/…',
 * 'weights/http' and 'device/none'. Weights are loaded when the first picture is drawn.
 */
export async function openPipeline(model: string | ModelFiles, options: OpenOptions = {}): Promise<TextToImage> {
  const files = typeof model === 'string' ? httpFolder(model) : model
  const open = async () => webgpuBackend(await openDevice())
  return openTextToImage(files, options.dtype, open, options.memoryBytes, options.weights)
}
