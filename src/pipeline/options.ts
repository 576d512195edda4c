// What a caller may ask of text to image, and the job that comes of it: every default filled in, every mistake found.
import { PhospheneError } from '../error.ts'
import type { PredictionType, SchedulerConfig } from '../sampling/config.ts'
import { planSampling, type ScheduleName, scheduleNames } from '../sampling/plan-sampling.ts'
import { resolveSampler, type Sampler, type SamplerName, samplerForClass } from '../sampling/samplers.ts'
import type { SamplingRun } from '../sampling/stage.ts'
import type { ProgressListener } from './events.ts'
import type { Model } from './model.ts'
import { type NoiseKind, noiseKinds } from './noise-stream.ts'

export interface TextToImageOptions {
  /** One prompt, or one for each picture of the batch. */
  readonly prompt: string | readonly string[]
  /** What the picture should not show; one for all prompts, or one for each. */
  readonly negative?: string | readonly string[] | undefined
  /** One seed: one stream of noise for the whole batch. A list: one for each picture. Random by default. */
  readonly seed?: number | readonly number[] | undefined
  readonly steps?: number | undefined
  /** Up to 1: no guidance, the model runs once a step and the negative prompt is not used. */
  readonly guidanceScale?: number | undefined
  /** 0 to 1: share of the guided prediction that gets the conditional one's deviation (Lin et al., arXiv:2305.08891). */
  readonly guidanceRescale?: number | undefined
  /** DDIM's η or TCD's γ. */
  readonly eta?: number | undefined
  /** Layers of the text encoder to leave out, as diffusers counts: 1 is A1111's "clip skip 2". */
  readonly clipSkip?: number | undefined
  /** Our name or A1111's label; default: what the model's own files say. */
  readonly sampler?: string | undefined
  readonly schedule?: ScheduleName | undefined
  /** Overrides the scheduler config's word on what the model predicts. */
  readonly prediction?: PredictionType | undefined
  /** Keys of scheduler_config.json to override. */
  readonly schedulerOverrides?: Partial<SchedulerConfig> | undefined
  /** Whose random numbers: torch's on the CPU (default) or on CUDA. */
  readonly noise?: NoiseKind | undefined
  /** In pixels; default: the size that the model was trained on. */
  readonly width?: number | undefined
  readonly height?: number | undefined
  /** Pictures of each prompt. */
  readonly count?: number | undefined
  /** Noise of unit variance to start from in place of the seed's; the size follows from it where none is given. */
  readonly initLatents?: Latents | undefined
  /** Whether the result shall tell where the time went. Costs one more run of each component, when the pictures are done. */
  readonly profile?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ProgressListener | undefined
}

/** Latents of a batch, channels outermost. */
export interface Latents {
  readonly shape: readonly [pictures: number, channels: number, height: number, width: number]
  readonly values: Float32Array
}

/** A batch with nothing left open. Lists have one entry for each picture. */
export interface Job {
  readonly prompts: readonly string[]
  readonly negatives: readonly string[]
  /** One entry for the whole batch, or one for each picture. */
  readonly seeds: readonly number[]
  readonly steps: number
  readonly guidanceScale: number
  readonly guidanceRescale: number
  readonly eta: number | undefined
  readonly clipSkip: number
  readonly sampler: Sampler & { readonly name?: SamplerName }
  readonly schedule: ScheduleName | undefined
  readonly prediction: PredictionType
  readonly noise: NoiseKind
  readonly width: number
  readonly height: number
  /** Of the latents. */
  readonly latentHeight: number
  readonly latentWidth: number
  readonly run: SamplingRun
  readonly initLatents: Latents | undefined
}

/** diffusers' own where a UNet's config names no sample_size. */
const defaultSampleSize = 64

/** Raises 'options/invalid', 'options/size', 'sampler/unknown', 'sampler/options', 'model/config', 'model/unsupported'. */
export function resolveJob(model: Model, options: TextToImageOptions): Job {
  const { defaults, parts, scheduler } = model
  const count = whole('count', options.count ?? 1, 1)
  const given = listOf('prompt', options.prompt)
  const prompts = given.flatMap((prompt) => Array.from({ length: count }, () => prompt))
  const negative = options.negative ?? ''
  const negatives =
    typeof negative === 'string'
      ? prompts.map(() => text('negative', negative))
      : sameLength('negative', listOf('negative', negative), given.length).flatMap((each) =>
          Array.from({ length: count }, () => each),
        )
  const seed = options.seed ?? randomSeed()
  const seeds = typeof seed === 'number' ? [seed] : sameLength('seed', [...seed], prompts.length)
  for (const each of seeds) integer('seed', each)

  const factor = parts.autoencoder.pixelsPerLatent
  const [sampleHeight, sampleWidth] = parts.denoiser.sampleSize ?? [defaultSampleSize, defaultSampleSize]
  const shape = options.initLatents?.shape
  const width = size('width', options.width ?? (shape?.[3] ?? sampleWidth) * factor, factor)
  const height = size('height', options.height ?? (shape?.[2] ?? sampleHeight) * factor, factor)
  const [latentHeight, latentWidth] = [height / factor, width / factor]

  const samplerName = options.sampler ?? defaults.sampler
  const sampler =
    samplerName === undefined ? samplerForClass(String(scheduler._class_name)) : resolveSampler(samplerName)
  oneOf('schedule', options.schedule, scheduleNames)
  oneOf('prediction', options.prediction, ['epsilon', 'sample', 'v_prediction'])
  const steps = whole('steps', options.steps ?? defaults.steps, 1)
  const eta = options.eta === undefined ? defaultEta(sampler) : number('eta', options.eta, 0, 1)
  const run = planSampling({
    config: scheduler,
    className: sampler.className,
    extra: { ...sampler.extra, ...options.schedulerOverrides },
    steps,
    ...(eta === undefined ? {} : { eta }),
    ...(options.schedule ? { schedule: options.schedule } : {}),
    ...(options.prediction ? { prediction: options.prediction } : {}),
  })

  if (options.initLatents)
    checkLatents(options.initLatents, [prompts.length, parts.denoiser.latentChannels, latentHeight, latentWidth])
  return {
    prompts,
    negatives,
    seeds,
    steps,
    guidanceScale: number('guidance', options.guidanceScale ?? defaults.guidance, 0),
    guidanceRescale: number('guidance rescale', options.guidanceRescale ?? 0, 0, 1),
    eta,
    clipSkip: clipSkip(model, options.clipSkip ?? 0),
    sampler,
    schedule: options.schedule,
    prediction: options.prediction ?? ((scheduler.prediction_type ?? 'epsilon') as PredictionType),
    noise: oneOf('noise', options.noise, noiseKinds) ?? 'cpu',
    width,
    height,
    latentHeight,
    latentWidth,
    run,
    initLatents: options.initLatents,
  }
}

/** diffusers' pipelines hand their own default of 0 to every scheduler that has an eta, though TCD's step would say 0.3. */
function defaultEta({ className }: Sampler): number | undefined {
  return className === 'TCDScheduler' ? 0 : undefined
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!
}

function checkLatents({ values, shape }: Latents, wanted: Latents['shape']): void {
  const elements = wanted.reduce((product, each) => product * each, 1)
  if (String(shape) === String(wanted) && values.length === elements && values.every(Number.isFinite)) return
  if (values.length === elements && String(shape) === String(wanted))
    throw new PhospheneError({
      code: 'latents/file',
      message: 'the initial latents have values that are NaN or infinite',
      fix: 'Save them again.',
    })
  throw new PhospheneError({
    code: 'latents/file',
    message: `the initial latents are [${shape}] with ${values.length} values, these pictures need [${wanted}]`,
    fix: 'Give latents of that shape, or the size and count that belong to them.',
  })
}

function clipSkip(model: Model, value: number): number {
  const layers = Math.min(...model.parts.textEncoders.map((encoder) => encoder.config.num_hidden_layers))
  if (Number.isInteger(value) && value >= 0 && value < layers) return value
  throw invalid(
    `clip skip is ${value}`,
    `Give a whole number from 0 to ${layers - 1}: the text encoder has ${layers} layers.`,
  )
}

function size(name: string, value: number, factor: number): number {
  if (!Number.isInteger(value) || value < 1)
    throw new PhospheneError({
      code: 'options/size',
      message: `${name} is ${value}, which is no number of pixels`,
      fix: `Give a multiple of ${factor}.`,
    })
  if (value % factor === 0) return value
  const below = Math.floor(value / factor) * factor
  throw new PhospheneError({
    code: 'options/size',
    message: `${name} is ${value}; this model draws multiples of ${factor} pixels`,
    fix: `Use ${below > 0 ? `${below} or ` : ''}${below + factor}.`,
  })
}

function listOf(name: string, value: string | readonly string[]): readonly string[] {
  const list = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list) || list.length === 0)
    throw invalid(`${name} is empty`, `Give a string or a list of strings.`)
  return list.map((each) => text(name, each))
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  throw invalid(`${name} is ${JSON.stringify(value)}`, 'Give a string or a list of strings.')
}

function sameLength<T>(name: string, list: readonly T[], length: number): readonly T[] {
  if (list.length === length) return list
  throw invalid(`${name} has ${list.length} entries for ${length}`, `Give one ${name} for all, or ${length} of them.`)
}

function integer(name: string, value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw invalid(`${name} is ${value}`, 'Give a whole number.')
}

function whole(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw invalid(`${name} is ${value}`, `Give a whole number, at least ${least}.`)
}

function number(name: string, value: number, least: number, most = Number.MAX_VALUE): number {
  if (typeof value === 'number' && value >= least && value <= most) return value
  const range = most === Number.MAX_VALUE ? `of at least ${least}` : `from ${least} to ${most}`
  throw invalid(`${name} is ${value}`, `Give a number ${range}.`)
}

function oneOf<T extends string>(name: string, value: T | undefined, known: readonly T[]): T | undefined {
  if (value === undefined || known.includes(value)) return value
  throw invalid(`${name} is ${JSON.stringify(value)}`, `Use one of: ${known.join(', ')}.`)
}

function invalid(message: string, fix: string): PhospheneError {
  return new PhospheneError({ code: 'options/invalid', message, fix })
}
