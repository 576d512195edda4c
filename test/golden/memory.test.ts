// Pictures within a limit of memory: the small models at the least that they can do with, against diffusers at the references' marks
// and against themselves without a limit; and what is on the device meanwhile.
import { describe, expect, it } from 'vitest'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import type { Backend } from '../../src/pipeline/backend-contract.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImageOptions } from '../../src/pipeline/options.ts'
import type { Session } from '../../src/run/executor.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { testColumns } from './executors.ts'
import { goldenFolder, loadIndex, readGolden, within } from './read-golden.ts'

const testCase = loadIndex('pipeline').find(({ id }) => id === 'pipelines/sd1/ddim')!
const call = testCase.settings.call as {
  readonly prompt: string
  readonly negative_prompt?: string
  readonly num_inference_steps: number
  readonly guidance_scale: number
  readonly width: number
  readonly height: number
}
const options: TextToImageOptions = {
  prompt: call.prompt,
  negative: call.negative_prompt,
  seed: testCase.settings.seed,
  steps: call.num_inference_steps,
  guidanceScale: call.guidance_scale,
  width: call.width,
  height: call.height,
  sampler: 'ddim',
}

const open = (backend: Backend, dtype: StorageDType, memoryBytes?: number) =>
  openTextToImage(nodeFolder(goldenFolder + testCase.model), dtype, async () => backend, { memoryBytes })

/** The least memory, to four per cent, that the check before loading lets through. */
async function leastBytes(backend: Backend, dtype: StorageDType): Promise<number> {
  let [works, fails] = [2 ** 24, 2 ** 14]
  while (works / fails > 1.04) {
    const middle = Math.round(Math.sqrt(works * fails))
    try {
      ;(await open(backend, dtype, middle)).check(options)
      works = middle
    } catch (error) {
      expect(error).toMatchObject({ code: 'plan/memory' })
      fails = middle
    }
  }
  return works
}

describe.each(await testColumns())('$name $dtype', ({ backend, dtype }) => {
  it('draws the same picture in as little memory as there may be', async () => {
    const least = 1.6 * (await leastBytes(backend, dtype)) // images of a few kilobytes: gaps and scratch weigh as much as they
    const [free, limited] = [await open(backend, dtype), await open(backend, dtype, least)]
    const [want, got] = [await free.generate(options), await limited.generate(options)]
    const [wantPixels, gotPixels] = [await free.decodeLatents(want.latents), await limited.decodeLatents(want.latents)]
    if (dtype === 'f32') {
      const off = gotPixels.reduce((most, value, i) => Math.max(most, Math.abs(value - wantPixels[i]!)), 0)
      expect(off, 'the decoder in bands against the undivided').toBeLessThan(1e-5)
    }
    const reference = readGolden(testCase.file)
    const values = { latents: got.latents.values, image: await limited.decodeLatents(got.latents) }
    for (const [output, found] of Object.entries(values)) {
      const key = testCase.outputs[output]!
      const comparison = within(found, reference.get(key)!.data as Float32Array, testCase.marks[key]![dtype]!)
      expect(comparison.pass, `${output}: ${comparison.text}`).toBe(true)
    }
    if (want.memory.arenaBytes > 0) expect(got.memory.arenaBytes).toBeLessThan(0.75 * want.memory.arenaBytes)
    await free.dispose()
    await limited.dispose()
  })
})

it('has on the device what the plans say, and no more than is allowed', async () => {
  const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
  const plain = webgpuBackend(device)
  const sessions = new Map<string, Session>()
  const backend: Backend = {
    ...plain,
    executor: {
      ...plain.executor,
      async load(graph, source, load) {
        const session = await plain.executor.load(graph, source, load)
        sessions.set(graph.name, session)
        return session
      },
    },
  }
  const limit = Math.round(1.6 * (await leastBytes(plain, 'f32')))
  const pipeline = await open(backend, 'f32', limit)
  const seen: number[] = []
  await pipeline.generate({
    ...options,
    onProgress(event) {
      if (event.kind === 'load') return // weights on their way
      const weights = [...sessions.values()].reduce((sum, session) => sum + session.weightBytes, 0)
      expect(device.bufferBytes - weights, event.kind).toBeLessThanOrEqual(limit)
      if (event.kind !== 'step') return
      const state = [...sessions.values()].reduce((sum, session) => sum + session.stateBytes, 0)
      const arena = Math.max(...[...sessions.values()].map((session) => session.arenaBytes))
      const shape = [1, options.height! / 8, options.width! / 8, 4]
      expect(device.bufferBytes).toBe(weights + state + arena + plain.executor.samplingBytes(shape, 1))
      seen.push(device.bufferBytes)
    },
  })
  expect(seen).toHaveLength(options.steps!)
  await pipeline.dispose()
  expect(device.bufferBytes).toBe(0)
})
