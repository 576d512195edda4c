// Quantised weights from a file and on load: the same integers, for all executors, by every way onto a device; what the command
// line writes and says; and what is wrong with a file is told.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Device } from '../src/device/device.ts'
import { openDevice } from '../src/device/node.ts'
import { optimiseInParts } from '../src/passes/passes.ts'
import { webgpuBackend } from '../src/pipeline/backend.ts'
import type { Backend } from '../src/pipeline/backend-contract.ts'
import { openModel } from '../src/pipeline/model.ts'
import { openTextToImage } from '../src/pipeline/open.ts'
import { cpuBackend } from '../src/pipeline/open-node.ts'
import { type PlannedWeight, planGraph } from '../src/plan/plan.ts'
import { modelComponents } from '../src/report/components.ts'
import { withQuantised } from '../src/run/quantised-parameters.ts'
import { referenceExecutor } from '../src/run/reference/executor.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import { readBuffer } from '../src/run/webgpu/program.ts'
import { uploadWeights } from '../src/run/webgpu/upload.ts'
import { quantisedFormats, type WeightFormat } from '../src/tensor/quantise.ts'
import { openComponent } from '../src/weights/folder.ts'
import { nodeFolder } from '../src/weights/node-files.ts'
import { copyModel, editSafetensors, type ScratchFolder, scratchFolder } from './damaged-model.ts'
import { runCli as cli } from './run-cli.ts'

let scratch: ScratchFolder
let model: string
let device: Device
/** The same device, taken for a GPU: weights go the GPU's way. */
let asGpu: Device
const written = (weights: string) => join(scratch.path, weights)

beforeAll(async () => {
  scratch = scratchFolder()
  model = copyModel(scratch)
  for (const weights of quantisedFormats) {
    const { code, err } = await cli(['quantize', model, '-o', written(weights), '--weights', weights])
    expect([code, err]).toEqual([0, expect.stringContaining(`tensors in ${weights}`)])
  }
  device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
  asGpu = new Device(device.gpu, { ...device.description, kind: 'gpu' }, () => {})
})
afterAll(() => {
  device.destroy()
  scratch.dispose()
})

const parts = ['text_encoder', 'unet', 'vae'] as const

/** A component's graph as it is run on WebGPU, products merged. */
async function graphOf(folder: (typeof parts)[number]) {
  const { components } = modelComponents(await openModel(nodeFolder(model)), { width: 64, height: 64 })
  return optimiseInParts(components.find((each) => each.folder === folder)!.graph, []).graph
}

describe.each(quantisedFormats)('%s', (weights) => {
  it('a written folder has everything but the original weights, in fewer bytes', () => {
    const files = (folder: string) => (readdirSync(folder, { recursive: true }) as string[]).sort()
    expect(files(written(weights))).toEqual(files(model))
    for (const part of parts) {
      const name = files(join(model, part)).find((file) => file.endsWith('.safetensors'))!
      const [before, after] = [model, written(weights)].map((folder) => readFileSync(join(folder, part, name)).length)
      expect(after! / before!).toBeLessThan(0.9) // small as they are, their headers and norms weigh
    }
  })

  it.each(parts)(
    '%s: file and load give the same numbers, and the same bytes on every way to a device',
    async (part) => {
      const graph = await graphOf(part)
      const [original, file] = await Promise.all(
        [model, written(weights)].map((folder) => openComponent(nodeFolder(folder), part)),
      )
      const onLoad = withQuantised(graph, original!, weights)
      let quantised = 0
      for (const [name, { shape }] of original!.tensors) {
        if (!file!.quantised!.has(name)) continue
        quantised += 1
        expect(file!.tensors.get(name)).toMatchObject({ dtype: 'F16', shape })
        // Of merged products the graph knows only the whole.
        if (graph.params.has(name)) expect(await file!.read(name), name).toEqual(await onLoad.read(name))
      }
      expect(quantised).toBeGreaterThan(part === 'text_encoder' ? 1 : 5) // the text encoder is too narrow for more
      const plan = planGraph(graph, { dtype: 'f32', weights, capabilities: capabilitiesOf(device) })
      expect(plan.weights.filter(({ storage }) => storage === weights).length).toBeGreaterThan(1)
      const images: Buffer[][] = []
      for (const on of [device, asGpu])
        for (const source of [original!, file!]) images.push(await uploaded(on, plan.weights, [plan], source))
      for (const [i, { value }] of plan.weights.entries()) {
        const [first, ...others] = images.map((image) => image[i]!)
        // What is not quantised has been rounded to f16 in the file.
        for (const other of others)
          if (plan.weights[i]!.storage === weights) expect(Buffer.compare(other, first!), value.name).toBe(0)
      }
      await Promise.all([original!.close(), file!.close()])
    },
  )

  it('draws the same picture from the file, on the CPU as on SwiftShader, and close to the original', async () => {
    const draw = async (backend: Backend, folder: string, format?: WeightFormat) => {
      const pipeline = await openTextToImage(nodeFolder(folder), 'f32', async () => backend, { weights: format })
      const { images, memory } = await pipeline.generate({ prompt: 'a cat', seed: 1, steps: 2, width: 64, height: 64 })
      await pipeline.dispose()
      return { pixels: images[0]!.pixels, weightBytes: memory.weightBytes }
    }
    const software = async () => webgpuBackend(await openDevice({ kind: 'software', adapter: 'swiftshader' }))
    const plain = await draw(await cpuBackend(), model)
    const onLoad = await draw(await software(), model, weights)
    const fromFile = await draw(await software(), written(weights))
    const onCpu = await draw(await cpuBackend(), written(weights), weights)
    // Norms, and what is narrower than 64, stay f32: the token table of this small model among them.
    expect(onLoad.weightBytes / plain.weightBytes).toBeLessThan(weights === 'int8' ? 0.5 : 0.4)
    expect(fromFile.weightBytes).toBe(onLoad.weightBytes)
    const furthest = (a: Uint8Array, b: Uint8Array) =>
      a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)
    // Norms and biases of the file are halves.
    expect(furthest(fromFile.pixels, onLoad.pixels)).toBeLessThanOrEqual(2)
    expect(furthest(fromFile.pixels, onCpu.pixels)).toBeLessThanOrEqual(1)
    expect(furthest(onLoad.pixels, plain.pixels)).toBeGreaterThan(0)
  })

  it('the reference computes from the same numbers, merged products and all', async () => {
    const graph = await graphOf('text_encoder')
    const source = await openComponent(nodeFolder(model), 'text_encoder')
    const inputs = { input_ids: Int32Array.from({ length: 77 }, (_, i) => 1 + i) }
    const wanted = await (await referenceExecutor().load(graph, source, { dtype: 'f32', weights })).run(inputs)
    const plain = await (await referenceExecutor().load(graph, source, { dtype: 'f32' })).run(inputs)
    const backend = webgpuBackend(await openDevice({ kind: 'software', adapter: 'swiftshader' }))
    const got = await (await backend.executor.load(graph, source, { dtype: 'f32', weights })).run(inputs)
    const [name] = [...graph.outputs.keys()] as [string]
    const furthest = (values: Float32Array) =>
      values.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[name]![i]!)), 0)
    expect(furthest(got[name]!)).toBeLessThan(1e-4)
    expect(furthest(plain[name]!)).toBeGreaterThan(1e-3)
    await backend.executor.dispose()
    await source.close()
  })
})

async function uploaded(
  on: Device,
  weights: readonly PlannedWeight[],
  plans: Parameters<typeof uploadWeights>[1],
  source: Parameters<typeof uploadWeights>[2],
): Promise<Buffer[]> {
  const [buffers] = await uploadWeights(on, plans, source, { dtype: 'f32' })
  const contents: Buffer[] = []
  for (const [i, buffer] of buffers!.entries()) {
    contents.push(Buffer.from(await readBuffer(on, { buffer, offset: 0, size: weights[i]!.bytes })))
    on.free(buffer)
  }
  expect(on.bufferBytes).toBe(0)
  return contents
}

describe('what goes wrong', () => {
  let own: ScratchFolder
  let folder: string
  beforeEach(async () => {
    own = scratchFolder()
    folder = join(own.path, 'int8')
    await cli(['quantize', model, '-o', folder, '--weights', 'int8'])
    return () => own.dispose()
  })

  const generate = (...more: string[]) =>
    cli(['generate', 'x', '--model', folder, '--device', 'cpu', '--steps', '1', '-o', join(own.path, 'a.png'), ...more])

  it('other integers than the file has', async () => {
    const { code, err } = await generate('--weights', 'int4')
    expect(code).toBe(2)
    expect(err).toContain('holds int8 weights, asked for are int4')
    expect(err).toContain('code: weights/quantised')
    expect((await generate('--weights', 'int2')).err).toContain('Use one of: f16, int8, int4.')
  })

  it('a file that contradicts itself', async () => {
    const file = join(folder, 'unet', 'diffusion_pytorch_model.safetensors')
    editSafetensors(file, ({ header }) => {
      const name = Object.keys(header).find((each) => each.endsWith('.scales'))!
      header[`${name}s`] = header[name]!
      delete header[name]
    })
    const { code, err } = await generate()
    expect(code).toBe(2)
    expect(err).toMatch(/\.scales is missing, its layout asks for F16/)
    expect(err).toContain('code: weights/quantised')
  })

  it('quantising what is quantised, to a place that is taken, and stopping', async () => {
    const again = await cli(['quantize', folder, '-o', join(own.path, 'again'), '--weights', 'int8'])
    expect([again.code, again.err]).toEqual([2, expect.stringContaining('holds int8 weights already')])
    const taken = await cli(['quantize', model, '-o', folder, '--weights', 'int8'])
    expect([taken.code, taken.err]).toEqual([2, expect.stringContaining('it exists already')])
    const aborted = new AbortController()
    aborted.abort()
    const stopped = await cli(
      ['quantize', model, '-o', join(own.path, 'again'), '--weights', 'int4'],
      () => {},
      aborted,
    )
    expect(stopped.code).toBe(130)
    expect(readdirSync(own.path)).toEqual(['int8'])
    expect(existsSync(join(own.path, 'again'))).toBe(false)
  })
})

it('inspect plans with quantised weights: SD 1.5 within 1,100 and 640 MB', { timeout: 120_000 }, async () => {
  const bytes = async (weights: string) => {
    const { out } = await cli(['inspect', '--arch', 'sd15', '--weights', weights, '--json'])
    const { components } = JSON.parse(out) as { components: Record<string, { weightBytes: number }> }
    return Object.values(components).reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  }
  expect(await bytes('int8')).toBeLessThanOrEqual(1100e6)
  expect(await bytes('int4')).toBeLessThanOrEqual(640e6)
  const file = await cli(['inspect', written('int8'), '--json'])
  const original = await cli(['inspect', model, '--weights', 'int8', '--json'])
  const weightBytes = ({ out }: { out: string }) => (JSON.parse(out) as { weightBytes: number }).weightBytes
  expect(weightBytes(file)).toBe(weightBytes(original))
})
