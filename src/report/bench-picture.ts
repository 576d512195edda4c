// Whole pictures through the library, as its user draws them: load to first step, then one picture after the other. Node only.

import type { Device } from '../device/device.ts'
import { listAdapters } from '../device/node.ts'
import { webgpuBackend } from '../pipeline/backend.ts'
import type { Backend } from '../pipeline/backend-contract.ts'
import { nodeModel } from '../pipeline/node-model.ts'
import { openTextToImage } from '../pipeline/open.ts'
import { cpuBackend } from '../pipeline/open-node.ts'
import { refuseKernelSwitches } from '../pipeline/optimisations.ts'
import type { GenerationResult } from '../pipeline/result.ts'
import type { TextToImage } from '../pipeline/text-to-image.ts'
import type { TuningOptions } from '../pipeline/tune-options.ts'
import { tunerFor } from '../pipeline/tuning.ts'
import { nodeTuningStore } from '../run/node-tuning-store.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { type BenchHead, type BenchOptions, openBenchDevice, resolveDType } from './bench-device.ts'
import { openPeer } from './peer.ts'
import { type Summary, summarise } from './statistics.ts'

export interface PictureBenchOptions extends BenchOptions, TuningOptions {
  readonly prompt?: string | undefined
  readonly steps?: number | undefined
  readonly sampler?: string | undefined
  /** Pictures timed after the first. */
  readonly rounds?: number | undefined
  /** Whether each picture is drawn by ONNX Runtime's WebGPU provider as well, on the same adapter; never on the CPU then. */
  readonly peer?: boolean | undefined
}

/** Of pictures after the first. */
interface PictureTimes {
  /** Prompts encoded, all steps, pixels on the host. */
  readonly pictureMs: Summary
  readonly stages: {
    readonly encodeMs: Summary
    /** Of the median step of each picture. */
    readonly stepMs: Summary
    readonly decodeMs: Summary
  }
}

export interface PictureBench extends BenchHead, PictureTimes {
  readonly steps: number
  readonly sampler: string
  readonly guidanceScale: number
  /** From nothing open to the end of the first step: files, device, weights, kernels. */
  readonly loadToFirstStepMs: number
  /** From nothing open to the first picture's pixels. */
  readonly firstPictureMs: number
  readonly pictures: number
  /** Whether the first picture drawn again at the end came out the same, byte for byte. */
  readonly repeatable: boolean
  readonly weightBytes: number
  readonly arenaBytes: number
  /** The peer's median picture over the engine's; each was drawn in turns with the engine's. */
  readonly ratio?: number
  readonly peer?: PictureTimes & {
    readonly name: string
    /** Root mean square between the first picture and the peer's, of 255. */
    readonly pixelDifference: number
  }
}

/** Raises what opening and drawing a picture raise. */
export async function benchPicture(options: PictureBenchOptions): Promise<PictureBench> {
  const { rounds = 5, onProgress = () => {} } = options
  const begin = performance.now()
  let device: Device | undefined
  const { optimisations = {} } = options
  const openBackend = async () => {
    if (!options.peer && (await onCpu(options))) {
      refuseKernelSwitches(optimisations)
      return told(await cpuBackend(optimisations), options)
    }
    device = await openBenchDevice(options)
    return told(webgpuBackend(device, optimisations, tunerFor(device, options, nodeTuningStore)), options)
  }
  const pipeline = await openTextToImage(nodeModel(options.model), options.dtype, openBackend, {
    optimisations,
    tune: options.tune,
  })
  let peer: TextToImage | undefined
  try {
    if (options.peer && device) peer = await openPeerPipeline(device, pipeline.dtype, options)
    let loadToFirstStepMs = 0
    const first = await draw(pipeline, 0, options, () => {
      loadToFirstStepMs = performance.now() - begin
    })
    const firstPictureMs = performance.now() - begin
    onProgress(`first picture after ${seconds(firstPictureMs)}`)
    const same = peer && (await draw(peer, 0, options))
    const [own, other]: [Drawn[], Drawn[]] = [[], []]
    for (let round = 1; round <= rounds; round++) {
      own.push(await drawn(pipeline, round, options))
      if (peer) other.push(await drawn(peer, round, options))
      const of = peer ? `, peer ${seconds(other.at(-1)!.pictureMs)}` : ''
      onProgress(`picture ${round}/${rounds}: ${seconds(own.at(-1)!.pictureMs)}${of}`)
    }
    const again = await draw(pipeline, 0, options)
    const { settings } = first.images[0]!
    const times = timesOf(own)
    const peerTimes = same && timesOf(other)
    return {
      model: options.model,
      adapter: pipeline.device.name,
      device: pipeline.device.kind,
      browserLike: options.browserLike ?? false,
      dtype: pipeline.dtype,
      width: settings.width,
      height: settings.height,
      count: first.images.length,
      steps: settings.steps,
      sampler: settings.sampler,
      guidanceScale: settings.guidanceScale,
      loadToFirstStepMs,
      firstPictureMs,
      ...times,
      pictures: own.length,
      repeatable: first.images.every(({ pixels }, i) => equal(pixels, again.images[i]!.pixels)),
      ...first.memory,
      ...(peerTimes && {
        ratio: peerTimes.pictureMs.median / times.pictureMs.median,
        peer: { name: peerName, ...peerTimes, pixelDifference: pixelDifference(first, same) },
      }),
    }
  } finally {
    await peer?.dispose()
    await pipeline.dispose()
  }
}

const peerName = "ONNX Runtime's WebGPU provider"

/** The same pipeline, its graphs run by the peer on the same adapter. */
async function openPeerPipeline(device: Device, dtype: StorageDType, options: BenchOptions): Promise<TextToImage> {
  const { kind, name } = device.description
  return openTextToImage(nodeModel(options.model), dtype, async () => ({
    device: { kind, name },
    executor: await openPeer(device),
    dtype,
    obstacle: () => () => undefined,
  }))
}

/** Other words for each round: encoded prompts are kept, and encoding is part of a picture. */
function draw(
  pipeline: TextToImage,
  round: number,
  { prompt = 'a red apple', width, height, count, steps, sampler, signal, onProgress = () => {} }: PictureBenchOptions,
  onFirstStep = () => {},
): Promise<GenerationResult> {
  return pipeline.generate({
    prompt: `${prompt}, take ${round}`,
    negative: `blurry, take ${round}`,
    ...{ seed: 1, width, height, count, steps, sampler, signal },
    onProgress(event) {
      if (event.kind === 'step' && event.step === 1) onFirstStep()
      if (event.kind === 'tune') onProgress(`${event.component}: tuning kernels, ${event.done} of ${event.total}`)
      if (event.kind === 'warning') onProgress(`warning: ${event.message}`)
    },
  })
}

interface Drawn {
  readonly pictureMs: number
  readonly timings: GenerationResult['timings']
}

async function drawn(pipeline: TextToImage, round: number, options: PictureBenchOptions): Promise<Drawn> {
  const start = performance.now()
  const { timings } = await draw(pipeline, round, options)
  return { pictureMs: performance.now() - start, timings }
}

function timesOf(pictures: readonly Drawn[]): PictureTimes {
  const timings = pictures.map((each) => each.timings)
  return {
    pictureMs: summarise(pictures.map(({ pictureMs }) => pictureMs)),
    stages: {
      encodeMs: summarise(timings.map(({ encodeMs }) => encodeMs)),
      stepMs: summarise(timings.map(({ stepMs }) => summarise(stepMs).median)),
      decodeMs: summarise(timings.map(({ decodeMs }) => decodeMs)),
    },
  }
}

/** Root mean square over all channels of all pixels, in steps of 8 bits. */
function pixelDifference(a: GenerationResult, b: GenerationResult): number {
  let [sum, count] = [0, 0]
  for (const [i, { pixels }] of a.images.entries())
    for (const [j, value] of pixels.entries()) {
      sum += (value - b.images[i]!.pixels[j]!) ** 2
      count++
    }
  return Math.sqrt(sum / count)
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}

function told(backend: Backend, { dtype, onProgress }: BenchOptions): Backend {
  onProgress?.(`${backend.device.name}, ${resolveDType(dtype, backend.device.kind)}`)
  return backend
}

/** As `generate` chooses: without a GPU, 'auto' is the CPU. */
async function onCpu({ device = 'auto', adapter }: BenchOptions): Promise<boolean> {
  if (device !== 'auto') return device === 'cpu'
  return adapter === undefined && !(await listAdapters()).some(({ kind }) => kind === 'gpu')
}

function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.prototype.every.call(a, (value, i) => value === b[i])
}
