// What a user of the library relies on beside the picture itself: events, stopping, waiting turns, and a device that is lost.
import { describe, expect, it } from 'vitest'
import { openDevice } from '../src/device/node.ts'
import { PhospheneError } from '../src/error.ts'
import { webgpuBackend } from '../src/pipeline/backend.ts'
import type { ProgressEvent, ResultEvent } from '../src/pipeline/events.ts'
import { openTextToImage } from '../src/pipeline/open.ts'
import { openPipeline } from '../src/pipeline/open-node.ts'
import { nodeFolder } from '../src/weights/node-files.ts'
import { goldenFolder } from './golden/read-golden.ts'

const model = `${goldenFolder}tiny/sd1`
const small = { prompt: 'a cat', seed: 1, steps: 3, width: 64, height: 64, sampler: 'ddim' } as const
const openCpu = () => openPipeline(model, { device: 'cpu' })

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (error instanceof PhospheneError) return error.code
    throw error
  }
  return 'no error'
}

describe('events', () => {
  it('tell of loading, steps and pictures in order, and end with the result', async () => {
    const pipeline = await openCpu()
    const events: (ProgressEvent | ResultEvent)[] = []
    const latents: Float32Array[] = []
    for await (const event of pipeline.events(small)) {
      events.push(event)
      if (event.kind === 'step') latents.push(await event.latents())
    }
    const kinds = events.filter(({ kind }) => kind !== 'load').map((e) => (e.kind === 'phase' ? e.phase : e.kind))
    expect(kinds).toEqual(['encode', 'denoise', 'step', 'step', 'step', 'decode', 'image', 'result'])
    const loaded = events.filter((event) => event.kind === 'load' && event.doneBytes === event.totalBytes)
    expect(loaded.map((event) => event.kind === 'load' && event.component)).toEqual(['text_encoder', 'unet', 'vae'])
    const last = events.at(-1)!
    expect(last.kind === 'result' && last.result.latents.values).toEqual(latents[2])
    expect(latents[0]).not.toEqual(latents[1])
    await pipeline.dispose()
  })

  it('stop the work when the loop is left', async () => {
    const pipeline = await openCpu()
    let steps = 0
    const before = performance.now()
    for await (const event of pipeline.events({ ...small, steps: 400 })) {
      if (event.kind === 'step') steps++
      if (steps === 2) break
    }
    // Calls wait for each other: this one begins when the abandoned one is over.
    await pipeline.generate({ ...small, steps: 1 })
    expect(steps).toBe(2)
    expect(performance.now() - before).toBeLessThan(20_000)
    await pipeline.dispose()
  })

  it('raise where the iteration stands', async () => {
    const pipeline = await openCpu()
    const iterate = async () => {
      for await (const _ of pipeline.events({ ...small, width: 63 }));
    }
    expect(await codeOf(iterate())).toBe('options/size')
    await pipeline.dispose()
  })
})

describe('a pipeline', () => {
  it('gives the same picture for the same seed, whatever was drawn between', async () => {
    const pipeline = await openCpu()
    const first = await pipeline.generate(small)
    await pipeline.generate({ ...small, prompt: ['a dog', 'a cat'], seed: [4, 5], width: 96, clipSkip: 1 })
    const [again, third] = await Promise.all([pipeline.generate(small), pipeline.generate({ ...small, seed: 2 })])
    expect(again.images[0]!.pixels).toEqual(first.images[0]!.pixels)
    expect(third.images[0]!.pixels).not.toEqual(first.images[0]!.pixels)
    await pipeline.dispose()
  })

  it('loads nothing twice for the same shapes', async () => {
    const pipeline = await openCpu()
    const first = await pipeline.generate(small)
    const second = await pipeline.generate({ ...small, prompt: 'a dog' })
    expect(Object.keys(first.timings.loadMs)).toEqual(['text_encoder', 'unet', 'vae'])
    expect(second.timings.loadMs).toEqual({})
    expect(second.memory).toEqual(first.memory)
    await pipeline.dispose()
  })

  it('stops before it begins, while loading and while stepping', async () => {
    const pipeline = await openCpu()
    expect(await codeOf(pipeline.generate({ ...small, signal: AbortSignal.abort() }))).toBe('aborted')
    for (const at of ['load', 'step'] as const) {
      const stop = new AbortController()
      const onProgress = (event: ProgressEvent) => {
        if (event.kind === at) stop.abort()
      }
      expect(await codeOf(pipeline.generate({ ...small, signal: stop.signal, onProgress })), at).toBe('aborted')
    }
    expect((await pipeline.generate(small)).images).toHaveLength(1)
    await pipeline.dispose()
  })

  it('refuses work after it was disposed', async () => {
    const pipeline = await openCpu()
    await pipeline.dispose()
    await pipeline.dispose()
    expect(await codeOf(pipeline.generate(small))).toBe('options/invalid')
  })

  it('names the numbers of prompts, negatives and seeds that do not go together', async () => {
    const pipeline = await openCpu()
    const two = { ...small, prompt: ['a', 'b'] }
    expect(await codeOf(pipeline.generate({ ...two, negative: ['x'] }))).toBe('options/invalid')
    expect(await codeOf(pipeline.generate({ ...two, seed: [1, 2, 3] }))).toBe('options/invalid')
    expect(await codeOf(pipeline.generate({ ...two, seed: 0.5 }))).toBe('options/invalid')
    expect(await codeOf(pipeline.generate({ ...two, steps: 1.5 }))).toBe('options/invalid')
    await pipeline.dispose()
  })

  it('draws what each executor draws alone when two live in one process', async () => {
    const [one, other] = await Promise.all([openCpu(), openPipeline(`${goldenFolder}tiny/turbo`, { device: 'cpu' })])
    const alone = await one.generate(small)
    const [together, turbo] = await Promise.all([one.generate(small), other.generate({ prompt: 'a cat', seed: 1 })])
    expect(together.images[0]!.pixels).toEqual(alone.images[0]!.pixels)
    expect(turbo.images[0]!.settings).toMatchObject({ steps: 1, guidanceScale: 0 }) // Turbo's own defaults
    await Promise.all([one.dispose(), other.dispose()])
  })
})

describe('a device', () => {
  it('that is lost while drawing is named as such, and the picture is not made', async () => {
    const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
    const pipeline = await openTextToImage(nodeFolder(model), 'f32', async () => webgpuBackend(device))
    const lose = (event: ProgressEvent) => {
      if (event.kind === 'step' && event.step === 2) device.gpu.destroy()
    }
    expect(await codeOf(pipeline.generate({ ...small, onProgress: lose }))).toBe('device/lost')
    await pipeline.dispose()
  })

  it('gets back all of its memory when the pipeline is disposed', async () => {
    const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
    const pipeline = await openTextToImage(nodeFolder(model), 'f32', async () => webgpuBackend(device))
    await pipeline.generate(small)
    const { weightBytes } = pipeline.memory
    expect(device.bufferBytes).toBeGreaterThan(weightBytes)
    await pipeline.dispose()
    expect(device.bufferBytes).toBe(0)
  })

  it('refuses a picture that it cannot bind, naming one that fits', async () => {
    const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
    const pipeline = await openTextToImage(nodeFolder(model), 'f32', async () => webgpuBackend(device))
    const work = pipeline.generate({ ...small, width: 16384, height: 16384 })
    await expect(work).rejects.toMatchObject({
      code: 'options/size',
      message: expect.stringMatching(/^16384×16384 does not fit: /),
      fix: expect.stringMatching(/^Draw at most \d+×\d+\.$/),
    })
    expect(device.bufferBytes).toBe(0)
    await pipeline.dispose()
  })
})
