// One reference generation of a small model on any backend: diffusers' call as ours, and the comparison with what it made.

import type { Backend } from '../../src/pipeline/backend-contract.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImageOptions } from '../../src/pipeline/options.ts'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import { resolveSampler, samplerNames } from '../../src/sampling/samplers.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { type Comparison, type GoldenCase, goldenFolder, loadIndex, readGolden, within } from './read-golden.ts'

/** Why a pipeline case is not run here: what it needs is another issue's. */
export function leftOut({ id, settings }: GoldenCase): string | undefined {
  if (settings.kind !== 'txt2img') return `${settings.kind} is not built`
  const group = id.split('/')[1]!
  const reasons: Readonly<Record<string, string>> = {
    sdxl: 'SDXL is not built',
    lora: 'LoRA is not built',
    ti: 'textual inversion is not built',
    weights: 'prompt weights are not built',
  }
  return reasons[group]
}

/** Every reference generation, those that are left out among them. */
export const pipelineCases = loadIndex('pipeline')

interface Call {
  readonly prompt: string | string[]
  readonly negative_prompt?: string | string[]
  readonly num_inference_steps: number
  readonly guidance_scale: number
  readonly guidance_rescale?: number
  readonly eta?: number
  readonly clip_skip?: number
  readonly num_images_per_prompt?: number
  readonly width: number
  readonly height: number
}

/** diffusers' call as ours. */
function optionsOf({ settings }: GoldenCase): TextToImageOptions {
  const call = settings.call as Call
  const schedulerClass = settings.scheduler_class as string | null
  const sampler = samplerNames.find(
    (name) => resolveSampler(name).className === schedulerClass && Object.keys(resolveSampler(name).extra).length === 0,
  )
  return {
    prompt: call.prompt,
    negative: call.negative_prompt,
    seed: settings.seed,
    steps: call.num_inference_steps,
    guidanceScale: call.guidance_scale,
    guidanceRescale: call.guidance_rescale,
    eta: call.eta,
    clipSkip: call.clip_skip,
    count: call.num_images_per_prompt,
    width: call.width,
    height: call.height,
    sampler: samplerNames.includes(settings.sampler) ? settings.sampler : schedulerClass ? sampler : undefined,
    schedulerOverrides: settings.scheduler_extra,
  }
}

export interface PipelineRunner {
  /** Each output that the reference has, compared. Pipelines stay open for the next case of their model. */
  run(testCase: GoldenCase): Promise<readonly (Comparison & { readonly name: string })[]>
  dispose(): Promise<void>
}

export function pipelineRunner(
  backend: Backend,
  dtype: StorageDType,
  options: Parameters<typeof openTextToImage>[3] = {},
): PipelineRunner {
  const pipelines = new Map<string, Promise<TextToImage>>()
  const pipelineOf = (model: string): Promise<TextToImage> => {
    const known =
      pipelines.get(model) ?? openTextToImage(nodeFolder(goldenFolder + model), dtype, async () => backend, options)
    pipelines.set(model, known)
    return known
  }
  const references = new Map<string, ReturnType<typeof readGolden>>()
  const referenceOf = (file: string) => {
    const known = references.get(file) ?? readGolden(file)
    references.set(file, known)
    return known
  }
  return {
    async run(testCase) {
      const pipeline = await pipelineOf(testCase.model!)
      const call = optionsOf(testCase)
      const steps: Float32Array[] = []
      const result = await pipeline.generate({
        ...call,
        onProgress: async (event) => {
          if (event.kind === 'step') steps.push(await event.latents())
        },
      })
      const got: Record<string, ArrayLike<number>> = {
        latents: result.latents.values,
        step_latents: steps.flatMap((each) => [...each]),
        image: await pipeline.decodeLatents(result.latents),
        prompt_embeds: await embeds(pipeline, call.prompt, call),
        negative_prompt_embeds: await embeds(pipeline, call.negative ?? '', { ...call, clipSkip: 0 }),
      }
      const reference = referenceOf(testCase.file)
      return Object.entries(testCase.outputs)
        .filter(([name]) => name !== 'taesd_image') // the small autoencoder is not built
        .map(([name, key]) => {
          const values = got[name]
          if (!values) throw new Error(`${testCase.id}: an output that this runner does not know: ${name}`)
          return { name, ...within(values, reference.get(key)!.data as Float32Array, testCase.marks[key]![dtype]!) }
        })
    },
    async dispose() {
      for (const pipeline of pipelines.values()) await (await pipeline).dispose()
      pipelines.clear()
    },
  }
}

async function embeds(
  pipeline: TextToImage,
  prompts: string | readonly string[],
  { clipSkip = 0, count = 1 }: TextToImageOptions,
): Promise<number[]> {
  const values: number[] = []
  for (const prompt of [prompts].flat()) {
    const encoded = await pipeline.encodePrompt(prompt, { clipSkip })
    for (let i = 0; i < count; i++) values.push(...encoded)
  }
  return values
}
