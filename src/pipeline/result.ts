// What comes out of a generation.
import type { Picture } from '../image/pixels.ts'
import type { DeviceRates, KernelTime } from '../run/profiler.ts'
import type { Job, Latents } from './options.ts'

/** What a picture was made with; enough to make it again. */
export interface ImageSettings {
  readonly prompt: string
  readonly negative: string
  readonly seed: number
  /** Place in a batch that shares one seed's stream of noise. */
  readonly index: number
  readonly batch: number
  readonly steps: number
  readonly guidanceScale: number
  readonly guidanceRescale: number
  readonly eta: number | undefined
  /** diffusers' meaning. */
  readonly clipSkip: number
  /** Our name, or the scheduler class of the model's own config. */
  readonly sampler: string
  readonly schedule: string | undefined
  readonly prediction: string
  readonly noise: Job['noise']
  readonly width: number
  readonly height: number
  readonly model: string
}

/** Pixels (RGB) with what they were made from. */
export interface GeneratedImage extends Picture {
  readonly settings: ImageSettings
  /** A PNG file with the settings in A1111's form under `parameters`. */
  png(): Promise<Uint8Array>
}

export interface Timings {
  /** By component; 0 for what was loaded before. */
  readonly loadMs: Readonly<Record<string, number>>
  readonly encodeMs: number
  /** One entry for each call of the denoiser. */
  readonly stepMs: readonly number[]
  readonly decodeMs: number
  readonly totalMs: number
}

/** A part of the work on the host's clock (`performance.now()`). */
export interface Stage {
  /** E.g. `load unet`, `text`, `step 3`, `decode`. */
  readonly name: string
  readonly startMs: number
  readonly endMs: number
}

/** Where the time went. `traceOf` turns it into a file for chrome://tracing and Perfetto. */
export interface GenerationProfile {
  /** By their start. Stages lie within each other; loading goes on beside them. */
  readonly stages: readonly Stage[]
  /** One more run of each component that ran, kernel by kernel, begun at `startMs` on the host's clock. */
  readonly components: readonly {
    readonly component: string
    readonly startMs: number
    readonly kernels: readonly KernelTime[]
  }[]
  /** What the device could do at most; undefined where no kernels were timed. */
  readonly rates: DeviceRates | undefined
  /** Why no kernels were timed, where this device cannot. */
  readonly withoutKernels: string | undefined
}

export interface GenerationResult {
  readonly images: readonly GeneratedImage[]
  /** Final latents before decoding. */
  readonly latents: Latents
  readonly timings: Timings
  /** Of all that is loaded now. */
  readonly memory: {
    /** Of all components that the picture took. */
    readonly weightBytes: number
    /** The most of them that were loaded at the same time. */
    readonly peakWeightBytes: number
    readonly arenaBytes: number
  }
  /** Where `profile` was asked for. */
  readonly profile?: GenerationProfile | undefined
}

export function settingsOf(job: Job, index: number, model: string): ImageSettings {
  const shared = job.seeds.length === 1
  return {
    prompt: job.prompts[index]!,
    negative: job.negatives[index]!,
    seed: job.seeds[shared ? 0 : index]!,
    index: shared ? index : 0,
    batch: shared ? job.prompts.length : 1,
    steps: job.steps,
    guidanceScale: job.guidanceScale,
    guidanceRescale: job.guidanceRescale,
    eta: job.eta,
    clipSkip: job.clipSkip,
    sampler: job.sampler.name ?? job.sampler.className,
    schedule: job.schedule,
    prediction: job.prediction,
    noise: job.noise,
    width: job.width,
    height: job.height,
    model,
  }
}
