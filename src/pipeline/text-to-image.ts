// Text to image: prompts to conditions, noise to latents, latents to pictures; components are loaded when they are needed.
import { PhospheneError } from '../error.ts'
import { toPicture } from '../image/pixels.ts'
import { encodePng } from '../image/png.ts'
import type { OptimiseOptions } from '../passes/passes.ts'
import { throwIfAborted } from '../run/aborted.ts'
import type { Executor } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import type { Backend, DeviceSummary } from './backend-contract.ts'
import { type ComponentRequest, type LoadContext, LoadedComponents } from './components.ts'
import { denoise } from './denoise.ts'
import { eventStream } from './event-stream.ts'
import type { ProgressEvent, ResultEvent } from './events.ts'
import { infotextOf } from './infotext.ts'
import { readbackBytes, samplingBytes } from './memory-limit.ts'
import type { Model } from './model.ts'
import { noiseStream } from './noise-stream.ts'
import { type Job, type Latents, resolveJob, type TextToImageOptions } from './options.ts'
import { nchwToNhwc, nhwcToNchw } from './planes.ts'
import { latentPreview } from './preview.ts'
import { recorder } from './recorder.ts'
import { type GeneratedImage, type GenerationResult, settingsOf } from './result.ts'

export interface TextToImageParts {
  readonly model: Model
  /** Its executor is owned by the pipeline: disposed with it. */
  readonly backend: Backend
  readonly dtype: StorageDType
  /** Bytes for everything but weights; no limit unless given. */
  readonly memoryBytes?: number | undefined
  /** How weights of products, convolutions and token tables are stored; as the files have them unless given. */
  readonly weights?: WeightFormat | undefined
  /** Whether components stay loaded when a picture no longer needs them (true unless given). */
  readonly keepLoaded?: boolean | undefined
  /** How the graphs are optimised. */
  readonly passes?: OptimiseOptions | undefined
  /** Raises 'options/size' or 'plan/too-large' where a job does not fit this executor; nothing is loaded yet. */
  readonly checkSize?: ((job: Job) => void) | undefined
}

/** Raises 'model/unsupported' for models that take more than a prompt. */
export function checkKind({ parts, files }: Model): void {
  const { denoiser, textEncoders, className } = parts
  if (textEncoders.length === 1 && denoiser.inChannels === denoiser.latentChannels) return
  throw new PhospheneError({
    code: 'model/unsupported',
    message: `${files.label}: text to image with ${className} (${denoiser.inChannels} input channels, ${textEncoders.length} text encoders) is not built`,
    fix: 'Use a Stable Diffusion 1.x, 2.x or Turbo model that is not for inpainting.',
  })
}

/** Encoded prompts kept for later calls, the latest ones. */
const keptPrompts = 64

export class TextToImage {
  readonly model: Model
  readonly device: DeviceSummary
  readonly dtype: StorageDType
  private readonly executor: Executor
  private readonly components: LoadedComponents
  private readonly keepLoaded: boolean
  private readonly checkSize: ((job: Job) => void) | undefined
  /** Encoded prompts, [tokens, channels], by clip skip and text. */
  private readonly encoded = new Map<string, Float32Array>()
  /** The end of the last call: calls wait for each other, since they share the loaded components. */
  private queue: Promise<unknown> = Promise.resolve()
  private disposed = false

  constructor({ model, backend, dtype, keepLoaded = true, checkSize, ...settings }: TextToImageParts) {
    this.model = model
    this.device = backend.device
    this.executor = backend.executor
    this.dtype = dtype
    this.checkSize = checkSize
    this.keepLoaded = keepLoaded
    this.components = new LoadedComponents({ files: model.files, executor: backend.executor, dtype, ...settings })
  }

  /**
   * Checks the options without loading or drawing anything. Raises 'options/invalid', 'options/size', 'sampler/unknown',
   * 'sampler/options'.
   */
  check(options: TextToImageOptions): Job {
    const job = resolveJob(this.model, options)
    this.checkSize?.(job)
    return job
  }

  /**
   * Draws the pictures. Raises what `check` raises, what loading raises ('weights/…', 'device/…'), 'latents/not-finite',
   * and 'aborted' within a step after the signal.
   */
  generate(options: TextToImageOptions): Promise<GenerationResult> {
    return this.exclusively(() => this.draw(options))
  }

  /** The same as a stream of progress that ends with the result. Leaving the loop stops the work. */
  events(options: TextToImageOptions): AsyncGenerator<ProgressEvent | ResultEvent, void, undefined> {
    return eventStream((onProgress, signal) => this.generate({ ...options, onProgress, signal }), options.signal)
  }

  /** The text encoder's hidden states of a prompt as the denoiser gets them, [tokens, channels]. */
  encodePrompt(prompt: string, options: { clipSkip?: number; signal?: AbortSignal } = {}): Promise<Float32Array> {
    return this.exclusively(() => this.encode(prompt, options.clipSkip ?? 0, silent(options.signal)))
  }

  /** What the autoencoder makes of a result's latents: [pictures, 3, height, width], about −1 … 1. */
  decodeLatents({ shape, values }: Latents): Promise<Float32Array> {
    const [pictures, channels, height, width] = shape
    return this.exclusively(async () => {
      const inside = nchwToNhwc(values, channels, height * width)
      const decoded: Float32Array[] = []
      for (let i = 0; i < pictures; i++)
        decoded.push(await this.decode(picture(inside, i, pictures), height, width, silent()))
      const pixels = decoded[0]!.length / 3
      const all = new Float32Array(pictures * decoded[0]!.length)
      for (const [i, each] of decoded.entries()) all.set(nhwcToNchw(each, 3, pixels), i * each.length)
      return all
    })
  }

  /** Bytes of weights and of planned intermediates of all that is loaded. */
  get memory(): Omit<GenerationResult['memory'], 'peakWeightBytes'> {
    return this.components.memory
  }

  /** Frees everything, the executor included, once the calls under way are over. */
  async dispose(): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    await this.queue
    this.components.dispose()
    await this.executor.dispose()
  }

  private exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.queue.then(() => {
      if (this.disposed)
        throw new PhospheneError({
          code: 'options/invalid',
          message: 'the pipeline was disposed',
          fix: 'Open it again.',
        })
      return work()
    })
    this.queue = result.catch(() => {})
    return result
  }

  private async draw(options: TextToImageOptions): Promise<GenerationResult> {
    const start = performance.now()
    throwIfAborted(options.signal)
    const job = this.check(options)
    const failed = new AbortController()
    const context: LoadContext = {
      emit: options.onProgress ?? (() => {}),
      signal: options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal,
      recorder: options.profile ? recorder(this.executor) : undefined,
    }
    try {
      return await this.drawJob(job, context, start)
    } catch (error) {
      failed.abort() // what is being loaded for later is given up
      await this.components.idle()
      throw error
    }
  }

  private async drawJob(job: Job, context: LoadContext, start: number): Promise<GenerationResult> {
    const { recorder: record } = context
    this.components.loadMs.clear()
    this.components.waitMs.clear()
    this.components.mark()

    await context.emit({ kind: 'phase', phase: 'encode' })
    const branches = job.guidanceScale > 1 ? 2 : 1
    const prompts = [
      // diffusers' clip_skip concerns the prompt alone, not the negative one.
      ...(branches === 2 ? job.negatives.map((text) => ({ text, clipSkip: 0 })) : []),
      ...job.prompts.map((text) => ({ text, clipSkip: job.clipSkip })),
    ]
    const conditions: Float32Array[] = []
    for (const [i, { text, clipSkip }] of prompts.entries()) {
      const encoding = this.encode(text, clipSkip, context)
      // Behind the text encoder, which is needed first, and while it loads.
      if (i === 0) this.components.prefetch(this.denoiserRequest(job, branches), context)
      conditions.push(await encoding)
    }
    const encoded = performance.now()
    record?.ended('text', start)
    const textFolders = this.model.parts.textEncoders.map((each) => each.folder)
    for (const folder of textFolders) this.finished(folder, context)

    await context.emit({ kind: 'phase', phase: 'denoise' })
    const stepMs: number[] = []
    const denoising = performance.now()
    const latents = await this.denoise(job, branches, concat(conditions), context, stepMs)
    record?.ended('denoise', denoising)
    this.finished(this.model.parts.denoiser.folder, context)
    const denoised = performance.now()

    await context.emit({ kind: 'phase', phase: 'decode' })
    const images = await this.decodeAll(job, latents, context)
    const end = performance.now()
    record?.ended('decode', denoised)
    this.finished(this.model.parts.autoencoder.folder, context)
    await record?.timeKernels()
    const { latentChannels: channels } = this.model.parts.denoiser
    const waited = (folder: string) => this.components.waitMs.get(folder) ?? 0
    return {
      images,
      latents: {
        shape: [job.prompts.length, channels, job.latentHeight, job.latentWidth],
        values: nhwcToNchw(latents, channels, job.latentHeight * job.latentWidth),
      },
      timings: {
        loadMs: Object.fromEntries(this.components.loadMs),
        encodeMs: encoded - start - textFolders.reduce((sum, folder) => sum + waited(folder), 0),
        stepMs,
        decodeMs: end - denoised - waited(this.model.parts.autoencoder.folder),
        totalMs: end - start,
      },
      memory: this.components.memoryTaken,
      profile: await record?.profile(),
    }
  }

  /** A component that this picture no longer needs. A profile takes the kernels' times at the end, of sessions that are there. */
  private finished(folder: string, { recorder }: LoadContext): void {
    if (!this.keepLoaded && !recorder) this.components.drop(folder)
  }

  /** [tokens, channels]. Prompts go through the encoder one at a time, so that one graph serves every batch. */
  private async encode(prompt: string, clipSkip: number, context: LoadContext): Promise<Float32Array> {
    const key = `${clipSkip} ${prompt}`
    const known = this.encoded.get(key)
    if (known) return known
    throwIfAborted(context.signal)
    const [encoder] = this.model.parts.textEncoders
    const { ids, truncated } = this.model.tokenizers[0]!.encode(prompt)
    if (truncated > 0)
      await context.emit({
        kind: 'warning',
        message: `the last ${truncated} tokens of "${prompt.slice(0, 40)}…" were cut off: the text encoder reads ${ids.length - 2}`,
      })
    const session = await this.components.session(
      { folder: encoder!.folder, key: `skip ${clipSkip}`, graph: () => encoder!.graph({ batch: 1, clipSkip }) },
      context,
    )
    context.recorder?.ran(encoder!.folder, session)
    const { hidden } = await session.run({ input_ids: ids }, context.signal)
    this.components.release(session)
    if (this.encoded.size >= keptPrompts) this.encoded.delete(this.encoded.keys().next().value!)
    this.encoded.set(key, hidden!)
    return hidden!
  }

  private async denoise(
    job: Job,
    branches: 1 | 2,
    encoderHiddenStates: Float32Array,
    context: LoadContext,
    stepMs: number[],
  ): Promise<Float32Array> {
    const { denoiser } = this.model.parts
    const { latentHeight: height, latentWidth: width, run } = job
    const batch = job.prompts.length
    const channels = denoiser.latentChannels
    const session = await this.components.session(this.denoiserRequest(job, branches), context)
    context.recorder?.ran(denoiser.folder, session)
    const noise = noiseStream(job.noise, job.seeds, { batch, height, width, channels })
    const start = job.initLatents ? nchwToNhwc(job.initLatents.values, channels, height * width) : noise()
    const latents = await denoise({
      executor: this.executor,
      model: session,
      modelInput: 'sample',
      modelOutput: 'out',
      conditions: { encoder_hidden_states: encoderHiddenStates },
      timestepInputs: (timestep) => ({ timestep: denoiser.timestepInput([timestep]) }),
      branches,
      guidanceScale: job.guidanceScale,
      guidanceRescale: job.guidanceRescale,
      run,
      latents: start.map((value) => value * run.initNoiseSigma),
      shape: [batch, height, width, channels],
      noise,
      signal: context.signal,
      onStep: async ({ index, elapsedMs, latents }) => {
        // The host has little to do from here to the decoding.
        if (index === 0) this.components.prefetch(this.decoderRequest(height, width), context)
        stepMs.push(elapsedMs)
        context.recorder?.ended(`step ${index + 1}`, performance.now() - elapsedMs)
        await context.emit({
          kind: 'step',
          step: index + 1,
          steps: run.stages.length,
          timestep: run.timesteps[index]!,
          elapsedMs,
          latents: async () => nhwcToNchw(latents(), channels, height * width),
          preview: async () => this.preview(job, latents),
        })
      },
    })
    this.components.release(session)
    return latents
  }

  private denoiserRequest(job: Job, branches: 1 | 2): ComponentRequest {
    const { denoiser, textEncoders } = this.model.parts
    const shape = {
      batch: branches * job.prompts.length,
      height: job.latentHeight,
      width: job.latentWidth,
      tokens: textEncoders[0]!.tokens,
    }
    return {
      folder: denoiser.folder,
      key: JSON.stringify(shape),
      graph: () => denoiser.graph(shape),
      held: denoiser.heldInputs,
      besideBytes: samplingBytes(this.executor, this.model, job),
    }
  }

  private decoderRequest(height: number, width: number): ComponentRequest {
    const { autoencoder } = this.model.parts
    const shape = { batch: 1, height, width }
    return {
      folder: autoencoder.folder,
      key: JSON.stringify(shape),
      graph: () => autoencoder.decoder(shape),
      besideBytes: readbackBytes(this.model.parts, shape, this.dtype),
      alsoKnown: () => autoencoder.encoder({ batch: 1, height: 64, width: 64 }).params.values(),
    }
  }

  private preview(job: Job, latents: () => Float32Array) {
    const map = this.model.defaults.latentToRgb
    if (!map) return undefined
    return latentPreview(picture(latents(), 0, job.prompts.length), job.latentWidth, job.latentHeight, map)
  }

  private async decodeAll(job: Job, latents: Float32Array, context: LoadContext): Promise<GeneratedImage[]> {
    const images: GeneratedImage[] = []
    const count = job.prompts.length
    for (let i = 0; i < count; i++) {
      throwIfAborted(context.signal)
      const samples = await this.decode(picture(latents, i, count), job.latentHeight, job.latentWidth, context)
      const image = toPicture(samples, { width: job.width, height: job.height, layout: 'nhwc' })
      const settings = settingsOf(job, i, this.model.name)
      images.push({ ...image, settings, png: () => encodePng(image, { parameters: infotextOf(settings) }) })
      await context.emit({ kind: 'image', image: i + 1, count })
    }
    return images
  }

  /** One picture's latents [h, w, c] → [height, width, 3]. One at a time, so that one graph serves every batch. */
  private async decode(
    latents: Float32Array,
    height: number,
    width: number,
    context: LoadContext,
  ): Promise<Float32Array> {
    const { autoencoder } = this.model.parts
    const session = await this.components.session(this.decoderRequest(height, width), context)
    context.recorder?.ran(autoencoder.folder, session)
    const { scalingFactor, shiftFactor } = autoencoder
    const { sample } = await session.run(
      { latents: latents.map((value) => value / scalingFactor + shiftFactor) },
      context.signal,
    )
    return sample!
  }
}

/** The part of a batch that belongs to picture `index`. */
function picture(batch: Float32Array, index: number, count: number): Float32Array {
  const length = batch.length / count
  return batch.subarray(index * length, (index + 1) * length)
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let end = 0
  for (const part of parts) {
    all.set(part, end)
    end += part.length
  }
  return all
}

function silent(signal?: AbortSignal): LoadContext {
  return { emit: () => {}, signal }
}
