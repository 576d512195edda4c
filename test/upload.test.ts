// Weights on their way to a device: through mapped memory, rearranged there, they are what the host packs, bit by bit; and what
// goes wrong on the way leaves nothing behind.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Device } from '../src/device/device.ts'
import { openDevice } from '../src/device/node.ts'
import { Graph, type Value } from '../src/graph/graph.ts'
import { conv2d } from '../src/ops/conv2d.ts'
import { linear } from '../src/ops/matmul.ts'
import { add, silu } from '../src/ops/pointwise.ts'
import { reshape } from '../src/ops/reshape.ts'
import { optimiseInParts } from '../src/passes/passes.ts'
import { type Plan, planGraph } from '../src/plan/plan.ts'
import type { ParameterSource } from '../src/run/executor.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import { readBuffer } from '../src/run/webgpu/program.ts'
import { uploadWeights } from '../src/run/webgpu/upload.ts'
import { bytesPerElement, type FileDType, type StorageDType } from '../src/tensor/dtype.ts'
import { openFile } from '../src/weights/node-files.ts'
import { openSafetensors, writeSafetensors } from '../src/weights/safetensors.ts'

/** Linear layers and convolutions of even and odd sizes, two that merge, a constant; `wide` makes a weight of 44 MB in F32. */
function model(wide = false): Graph {
  const graph = new Graph('test')
  const g = graph.scope()
  let x: Value = graph.input('x', [1, 6, 5, 7])
  x = silu(conv2d(g.scope('conv'), x, 16, { kernel: 3, padding: 1 }))
  const tokens = reshape(x, [1, 30, 16])
  const [a, b] = ['a', 'b'].map((name) => linear(g.scope(name), tokens, 24))
  let y = silu(add(a!, b!))
  y = add(
    y,
    graph.constant(
      'shift',
      [24],
      Float32Array.from({ length: 24 }, (_, i) => i / 3),
    ),
  )
  if (wide) y = linear(g.scope('wide'), linear(g.scope('long'), y, 3300), 3301)
  graph.output('y', linear(g.scope('out'), y, 5))
  return graph
}

/** The file's types, turn by turn: neighbours differ, so a merged weight has two. */
const types: readonly FileDType[] = ['F16', 'F32', 'BF16', 'F64']

function tensorBytes(dtype: FileDType, count: number): Uint8Array {
  if (dtype === 'F64') return new Uint8Array(Float64Array.from({ length: count }, (_, i) => Math.sin(i)).buffer)
  if (dtype === 'F32') return new Uint8Array(Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1)).buffer)
  const bits = Uint16Array.from({ length: count }, (_, i) => (Math.imul(i, 40503) & 0x8fff) | 0x2000)
  return new Uint8Array(bits.buffer)
}

let device: Device
/** The same device, taken for a GPU: weights go the GPU's way. */
let asGpu: Device
let folder: string

beforeAll(async () => {
  device = await openDevice({ kind: 'software' })
  asGpu = new Device(device.gpu, { ...device.description, kind: 'gpu' }, () => {})
  folder = await mkdtemp(join(tmpdir(), 'phosphene-upload-'))
})

afterAll(async () => {
  device.destroy()
  await rm(folder, { recursive: true })
})

async function source(
  graph: Graph,
  typeOf: (index: number) => FileDType,
): Promise<ParameterSource & { close(): Promise<void> }> {
  const tensors = [...graph.params.values()].map(({ name, shape }, i) => {
    const dtype = typeOf(i)
    const count = shape.reduce((product, size) => product * size, 1)
    return { name, dtype, shape, bytes: tensorBytes(dtype, count) }
  })
  const path = join(folder, `${graph.name}.safetensors`)
  await writeFile(path, writeSafetensors(tensors))
  return openSafetensors(await openFile(path))
}

function plansOf(graph: Graph, dtype: StorageDType): readonly Plan[] {
  const { graph: rest } = optimiseInParts(graph, [])
  return [planGraph(rest, { dtype, capabilities: capabilitiesOf(device) })]
}

async function uploaded(on: Device, plans: readonly Plan[], from: ParameterSource, dtype: StorageDType) {
  const progress: number[] = []
  const buffers = (await uploadWeights(on, plans, from, { dtype, onProgress: (done) => progress.push(done) })).flat()
  const weights = plans.flatMap((plan) => plan.weights)
  expect(progress.toSorted((a, b) => a - b)).toEqual(progress)
  expect(progress.at(-1)).toBe(weights.reduce((sum, { bytes }) => sum + bytes, 0))
  const contents: Uint8Array[] = []
  for (const [i, buffer] of buffers.entries()) {
    contents.push(new Uint8Array(await readBuffer(on, { buffer, offset: 0, size: weights[i]!.bytes })))
    on.free(buffer)
  }
  expect(on.bufferBytes).toBe(0)
  return contents
}

describe.each(['f16', 'f32'] as const)('to %s', (dtype) => {
  it('gives what the host packs, from files of any type', async () => {
    const graph = model()
    const plans = plansOf(graph, dtype)
    const from = await source(graph, (i) => types[i % types.length]!)
    const want = await uploaded(device, plans, from, dtype)
    const got = await uploaded(asGpu, plans, from, dtype)
    await from.close()
    expect(want.length).toBeGreaterThan(8)
    expect(want.every((bytes) => bytes.some((byte) => byte !== 0))).toBe(true)
    for (const [i, bytes] of got.entries()) expect(bytes, plans[0]!.weights[i]!.value.name).toEqual(want[i])
  })
})

it('cuts what does not fit a staging buffer', { timeout: 120_000 }, async () => {
  const graph = model(true)
  const plans = plansOf(graph, 'f16')
  const from = await source(graph, () => 'F32')
  const sizes = [...from.tensors.values()].map(({ dtype: type, shape }) =>
    shape.reduce((product, size) => product * size, bytesPerElement[type]),
  )
  expect(Math.max(...sizes)).toBeGreaterThan(40e6)
  const want = await uploaded(device, plans, from, 'f16')
  const got = await uploaded(asGpu, plans, from, 'f16')
  await from.close()
  for (const [i, bytes] of got.entries())
    expect(Buffer.compare(bytes, want[i]!), plans[0]!.weights[i]!.value.name).toBe(0)
})

describe.each(['host', 'device'] as const)('packed on the %s', (where) => {
  const on = () => (where === 'host' ? device : asGpu)

  it('raises what reading raises and frees everything', async () => {
    const graph = model()
    const plans = plansOf(graph, 'f16')
    const from = await source(graph, () => 'F16')
    await from.close()
    await expect(uploadWeights(on(), plans, from, { dtype: 'f16' })).rejects.toMatchObject({
      code: 'weights/truncated',
    })
    expect(on().bufferBytes).toBe(0)
  })

  it('stops when asked and frees everything', async () => {
    const graph = model()
    const plans = plansOf(graph, 'f16')
    const from = await source(graph, () => 'F16')
    const stop = new AbortController()
    stop.abort()
    await expect(uploadWeights(on(), plans, from, { dtype: 'f16', signal: stop.signal })).rejects.toMatchObject({
      code: 'aborted',
    })
    await from.close()
    expect(on().bufferBytes).toBe(0)
  })

  it('names a tensor that the file lacks', async () => {
    const graph = model()
    const plans = plansOf(graph, 'f16')
    const from = await source(new Graph('empty'), () => 'F16')
    await expect(uploadWeights(on(), plans, from, { dtype: 'f16' })).rejects.toMatchObject({
      code: 'weights/missing-key',
    })
    await from.close()
    expect(on().bufferBytes).toBe(0)
  })
})
