// Components that are loaded before they are needed, by executors that load beside their other work: what a caller sees is the same,
// and what goes wrong early is told once it would have mattered, or given up when something else fails first.
import { describe, expect, it } from 'vitest'
import { PhospheneError } from '../src/error.ts'
import type { ProgressEvent } from '../src/pipeline/events.ts'
import { openTextToImage } from '../src/pipeline/open.ts'
import { cpuBackend } from '../src/pipeline/open-node.ts'
import type { Executor } from '../src/run/executor.ts'
import { nodeFolder } from '../src/weights/node-files.ts'
import { goldenFolder } from './golden/read-golden.ts'

const files = nodeFolder(`${goldenFolder}tiny/sd1`)
const small = { prompt: 'a cat', seed: 1, steps: 2, width: 64, height: 64, sampler: 'ddim' } as const

type Load = Executor['load']

/** A pipeline on the CPU whose executor says that it loads beside its other work; `load` stands before its own. */
async function early(load: (own: Load, ...args: Parameters<Load>) => ReturnType<Load>) {
  const backend = await cpuBackend()
  const { executor } = backend
  const beside: Executor = { ...executor, loadsBeside: true, load: (...args) => load(executor.load, ...args) }
  return openTextToImage(files, 'f32', async () => ({ ...backend, executor: beside }))
}

const failure = (message: string) => new PhospheneError({ code: 'weights/http', message, fix: 'Try again.' })

describe('loading early', () => {
  it('begins with the denoiser while the text encoder loads, and tells of each when it is waited for', async () => {
    let denoiserBegins = () => {}
    const denoiserBegun = new Promise<void>((resolve) => {
      denoiserBegins = resolve
    })
    const pipeline = await early(async (own, graph, ...rest) => {
      if (graph.inputs.has('sample')) denoiserBegins()
      if (graph.inputs.has('input_ids')) await denoiserBegun
      return own(graph, ...rest)
    })
    const events: ProgressEvent[] = []
    const { timings, latents } = await pipeline.generate({
      ...small,
      onProgress: (event) => {
        events.push(event)
      },
    })
    const order = events
      .filter((event) => event.kind !== 'load' || event.doneBytes === event.totalBytes)
      .map((event) => (event.kind === 'phase' ? event.phase : event.kind === 'load' ? event.component : event.kind))
    expect(order).toEqual(['encode', 'text_encoder', 'denoise', 'unet', 'step', 'step', 'decode', 'vae', 'image'])
    expect(Object.keys(timings.loadMs).sort()).toEqual(['text_encoder', 'unet', 'vae'])
    expect(Math.min(timings.encodeMs, timings.decodeMs)).toBeGreaterThan(0)
    await pipeline.dispose()

    const plain = await openTextToImage(files, 'f32', cpuBackend)
    expect((await plain.generate(small)).latents.values).toEqual(latents.values)
    await plain.dispose()
  })

  it('gives up what is loading when something else fails, and loads it anew for the next picture', async () => {
    let stopped = 0
    let broken = true
    const pipeline = await early((own, graph, source, options) => {
      if (!broken) return own(graph, source, options)
      if (graph.inputs.has('input_ids')) return Promise.reject(failure('the text encoder'))
      return new Promise((_, reject) => {
        options.signal!.addEventListener('abort', () => {
          stopped++
          reject(failure('the denoiser'))
        })
      })
    })
    await expect(pipeline.generate(small)).rejects.toThrow('the text encoder')
    expect(stopped).toBe(1)
    broken = false
    expect((await pipeline.generate(small)).images).toHaveLength(1)
    await pipeline.dispose()
  })

  it('raises what loading raised early, once the text is encoded', async () => {
    const pipeline = await early((own, graph, source, options) =>
      graph.inputs.has('input_ids') ? own(graph, source, options) : Promise.reject(failure('the denoiser')),
    )
    const phases: string[] = []
    const drawing = pipeline.generate({
      ...small,
      onProgress: (event) => {
        if (event.kind === 'phase') phases.push(event.phase)
      },
    })
    await expect(drawing).rejects.toThrow('the denoiser')
    expect(phases).toEqual(['encode', 'denoise'])
    await pipeline.dispose()
  })
})
