// Whole pictures through the library, as its user draws them: load to first step, then one picture after the other. Node only.
import { listAdapters } from '../device/node.ts'
import { webgpuBackend } from '../pipeline/backend.ts'
import type { Backend } from '../pipeline/backend-contract.ts'
import { openTextToImage } from '../pipeline/open.ts'
import { cpuBackend } from '../pipeline/open-node.ts'
import type { GenerationResult } from '../pipeline/result.ts'
import { nodeFolder } from '../weights/node-files.ts'
import { type BenchHead, type BenchOptions, openBenchDevice, resolveDType } from './bench-device.ts'
import { type Summary, summarise } from './statistics.ts'

export interface PictureBenchOptions extends BenchOptions {
  readonly prompt?: string | undefined
  readonly steps?: number | undefined
  readonly sampler?: string | undefined
  /** Pictures timed after the first. */
  readonly rounds?: number | undefined
}

export interface PictureBench extends BenchHead {
  readonly steps: number
  readonly sampler: string
  readonly guidanceScale: number
  /** From nothing open to the end of the first step: files, device, weights, kernels. */
  readonly loadToFirstStepMs: number
  /** From nothing open to the first picture's pixels. */
  readonly firstPictureMs: number
  /** Prompts encoded, all steps, pixels on the host. */
  readonly pictureMs: Summary
  readonly stages: {
    readonly encodeMs: Summary
    /** Of the median step of each picture. */
    readonly stepMs: Summary
    readonly decodeMs: Summary
  }
  readonly pictures: number
  /** Whether the first picture drawn again at the end came out the same, byte for byte. */
  readonly repeatable: boolean
  readonly weightBytes: number
  readonly arenaBytes: number
}

/** Raises what opening and drawing a picture raise. */
export async function benchPicture(options: PictureBenchOptions): Promise<PictureBench> {
  const { rounds = 5, prompt = 'a red apple', signal, onProgress = () => {} } = options
  const begin = performance.now()
  const pipeline = await openTextToImage(nodeFolder(options.model), options.dtype, () => openBackend(options))
  try {
    const { width, height, count, steps, sampler } = options
    /** Other words for each: encoded prompts are kept, and encoding is part of a picture. */
    const draw = (round: number, onFirstStep = () => {}): Promise<GenerationResult> =>
      pipeline.generate({
        prompt: `${prompt}, take ${round}`,
        negative: `blurry, take ${round}`,
        ...{ seed: 1, width, height, count, steps, sampler, signal },
        onProgress: (event) => (event.kind === 'step' && event.step === 1 ? onFirstStep() : undefined),
      })
    let loadToFirstStepMs = 0
    const first = await draw(0, () => {
      loadToFirstStepMs = performance.now() - begin
    })
    const firstPictureMs = performance.now() - begin
    onProgress(`first picture after ${(firstPictureMs / 1000).toFixed(1)} s`)
    const pictures: number[] = []
    const timings: GenerationResult['timings'][] = []
    for (let round = 1; round <= rounds; round++) {
      const start = performance.now()
      timings.push((await draw(round)).timings)
      pictures.push(performance.now() - start)
      onProgress(`picture ${round}/${rounds}: ${(pictures.at(-1)! / 1000).toFixed(2)} s`)
    }
    const again = await draw(0)
    const { settings } = first.images[0]!
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
      pictureMs: summarise(pictures),
      stages: {
        encodeMs: summarise(timings.map(({ encodeMs }) => encodeMs)),
        stepMs: summarise(timings.map(({ stepMs }) => summarise(stepMs).median)),
        decodeMs: summarise(timings.map(({ decodeMs }) => decodeMs)),
      },
      pictures: pictures.length,
      repeatable: first.images.every(({ pixels }, i) => equal(pixels, again.images[i]!.pixels)),
      ...first.memory,
    }
  } finally {
    await pipeline.dispose()
  }
}

async function openBackend(options: BenchOptions): Promise<Backend> {
  const backend = (await onCpu(options)) ? await cpuBackend() : webgpuBackend(await openBenchDevice(options))
  options.onProgress?.(`${backend.device.name}, ${resolveDType(options.dtype, backend.device.kind)}`)
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
