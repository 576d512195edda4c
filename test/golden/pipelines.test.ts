// Whole generations of the small models against diffusers: text to image of SD 1.x, SD 2.x and Turbo, at the references' marks.
import { afterAll, describe, expect, it } from 'vitest'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImageOptions } from '../../src/pipeline/options.ts'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import { resolveSampler, samplerNames } from '../../src/sampling/samplers.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { testColumns } from './executors.ts'
import { type GoldenCase, goldenFolder, loadIndex, readGolden, within } from './read-golden.ts'

/** Why a pipeline case is not run here: what it needs is another issue's. */
function leftOut({ id, settings }: GoldenCase): string | undefined {
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

const all = loadIndex('pipeline')
const cases = all.filter((each) => leftOut(each) === undefined)
const files = new Map([...new Set(cases.map((each) => each.file))].map((file) => [file, readGolden(file)]))

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

describe.each(await testColumns())('$name $dtype', ({ name, backend, dtype }) => {
  const pipelines = new Map<string, Promise<TextToImage>>()
  let passed = 0

  const pipelineOf = (model: string, storage: StorageDType): Promise<TextToImage> => {
    const known = pipelines.get(model)
    if (known) return known
    const opened = openTextToImage(nodeFolder(goldenFolder + model), storage, async () => backend)
    pipelines.set(model, opened)
    return opened
  }

  afterAll(async () => {
    for (const pipeline of pipelines.values()) await (await pipeline).dispose()
    console.log(`golden pipelines on ${name} ${dtype}: ${passed} passed of ${cases.length}`)
  })

  it.each(cases)('$id', async (testCase) => {
    const pipeline = await pipelineOf(testCase.model!, dtype)
    const options = optionsOf(testCase)
    const steps: Float32Array[] = []
    const result = await pipeline.generate({
      ...options,
      onProgress: async (event) => {
        if (event.kind === 'step') steps.push(await event.latents())
      },
    })
    const got: Record<string, ArrayLike<number>> = {
      latents: result.latents.values,
      step_latents: steps.flatMap((each) => [...each]),
      image: await pipeline.decodeLatents(result.latents),
      prompt_embeds: await embeds(pipeline, options.prompt, options),
      negative_prompt_embeds: await embeds(pipeline, options.negative ?? '', { ...options, clipSkip: 0 }),
    }
    const reference = files.get(testCase.file)!
    const failures: string[] = []
    for (const [output, key] of Object.entries(testCase.outputs)) {
      const values = got[output]
      if (!values) {
        expect(output, 'an output that this test does not know').toBe('taesd_image')
        continue
      }
      const comparison = within(values, reference.get(key)!.data as Float32Array, testCase.marks[key]![dtype]!)
      if (!comparison.pass) failures.push(`${output}: ${comparison.text}`)
    }
    expect(failures, `${testCase.id} on ${backend.device.name}, ${dtype}`).toEqual([])
    passed++
  })
})

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

it('leaves out only what is not built', () => {
  const reasons = new Map<string, number>()
  for (const each of all) {
    const reason = leftOut(each)
    if (reason) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  console.log(`left out: ${[...reasons].map(([reason, count]) => `${count} × ${reason}`).join(', ')}`)
  expect(cases.length).toBe(45)
})
