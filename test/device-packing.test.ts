// Weights rearranged by the device's kernel against the same layouts packed on the host, bit by bit.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../src/device/device.ts'
import { openDevice } from '../src/device/node.ts'
import { Graph } from '../src/graph/graph.ts'
import { packConv } from '../src/kernels/conv2d/problem.ts'
import type { PreparedWeight, Request } from '../src/kernels/family.ts'
import { packGateBias, packMatrix } from '../src/kernels/matmul/pack.ts'
import type { MatmulAttrs } from '../src/ops/attrs.ts'
import { embedding } from '../src/ops/embedding.ts'
import { planGraph } from '../src/plan/plan.ts'
import { type DevicePacking, devicePacking } from '../src/run/webgpu/device-packing.ts'
import { readBuffer } from '../src/run/webgpu/program.ts'
import { operand, softwareCapabilities } from './gpu.ts'

type Elements = Float32Array | Uint16Array

let device: Device
let packing: DevicePacking

beforeAll(async () => {
  device = await openDevice({ kind: 'software' })
  packing = await devicePacking(device)
})

afterAll(() => {
  packing.dispose()
  expect(device.bufferBytes).toBe(0)
  device.destroy()
})

/** The layout of weights that no kernel asks to have otherwise: rows of padded channels. */
function rows(count: number, channels: number): PreparedWeight {
  const graph = new Graph('rows')
  const ids = graph.input('ids', [1, 1], 'int')
  graph.output('y', embedding(graph.scope('table'), ids, count, channels))
  return planGraph(graph, { dtype: 'f16', capabilities: softwareCapabilities }).weights[0]!.layout
}

function matrix(n: number, k: number, transposeB: boolean, gate = false): PreparedWeight {
  const columns = gate ? 2 * n : n
  const request: Pick<Request<MatmulAttrs>, 'attrs' | 'inputs' | 'output'> = {
    attrs: { transposeA: false, transposeB, ...(gate ? { gate: 'gelu' } : {}) },
    inputs: [
      operand({ shape: [3, k], slot: 0 }),
      operand({ shape: transposeB ? [columns, k] : [k, columns], slot: 1, space: 'weight' }),
    ],
    output: operand({ shape: [3, n], slot: 2 }),
  }
  return packMatrix(request as Request<MatmulAttrs>)
}

const conv = (o: number, c: number, kh: number, kw: number) =>
  packConv({ o, c, kh, kw, o4: Math.ceil(o / 4), c4: Math.ceil(c / 4) } as Parameters<typeof packConv>[0])

const layouts: readonly (readonly [string, number, PreparedWeight])[] = [
  ['rows 5×8', 40, rows(5, 8)],
  ['rows 7×13', 91, rows(7, 13)],
  ['a bias of 5', 5, rows(1, 5)],
  ['a scalar', 1, rows(1, 1)],
  ['b 8×4', 32, matrix(8, 4, true)],
  ['b 13×70', 910, matrix(13, 70, true)],
  ['b 70×13, rows of k', 910, matrix(13, 70, false)],
  ['gated b 2·13×7', 182, matrix(13, 7, true, true)],
  ['gated b 2·16×33, rows of k', 1056, matrix(16, 33, false, true)],
  ['gate bias 2·5', 10, packGateBias(5)],
  ['conv 8×4×3×3', 288, conv(8, 4, 3, 3)],
  ['conv 13×5×3×3', 585, conv(13, 5, 3, 3)],
  ['conv 3×66×1×1', 198, conv(3, 66, 1, 1)],
  ['conv 10×7×2×5', 700, conv(10, 7, 2, 5)],
]

const values = (Kind: typeof Float32Array | typeof Uint16Array, count: number): Elements =>
  Kind === Uint16Array
    ? Uint16Array.from({ length: count }, (_, i) => (i * 40503 + 1) & 0xffff)
    : Float32Array.from({ length: count }, (_, i) => i + 1)

async function packed(layout: PreparedWeight, elements: Elements): Promise<{ got: Elements; want: Elements }> {
  const Kind = elements instanceof Uint16Array ? Uint16Array : Float32Array
  const want = new Kind(layout.elements)
  layout.pack(elements, want)
  // Storage, copied to and from: what a weight has.
  const target = device.buffer('target', want.byteLength, 0x80 | 0x08 | 0x04)
  device.gpu.queue.writeBuffer(target, 0, new Uint8Array(target.size).fill(0x7e))
  packing.pack(layout, elements, target)
  const got = new Kind(await readBuffer(device, { buffer: target, offset: 0, size: want.byteLength }))
  device.free(target)
  return { got: got.subarray(0, want.length), want }
}

for (const Kind of [Uint16Array, Float32Array])
  describe(Kind === Uint16Array ? 'halves' : 'floats', () => {
    test.each(layouts)('%s', async (_, count, layout) => {
      const { got, want } = await packed(layout, values(Kind, count))
      expect(got).toEqual(want)
    })
  })

test('one staging buffer serves weights of all sizes, queued one after the other', async () => {
  const cases = [layouts[3]!, layouts[9]!, layouts[5]!, layouts[0]!, layouts[11]!]
  const targets = cases.map(([name, , layout]) => device.buffer(name, layout.elements * 2, 0x80 | 0x04))
  for (const [i, [, count, layout]] of cases.entries()) packing.pack(layout, values(Uint16Array, count), targets[i]!)
  for (const [i, [, count, layout]] of cases.entries()) {
    const want = new Uint16Array(layout.elements)
    layout.pack(values(Uint16Array, count), want)
    const bytes = await readBuffer(device, { buffer: targets[i]!, offset: 0, size: want.byteLength })
    expect(new Uint16Array(bytes).subarray(0, want.length)).toEqual(want)
    device.free(targets[i]!)
  }
})

test('a table whose words need more workgroups than one dimension has', { timeout: 60_000 }, async () => {
  const shape = [49408, 768] as const // CLIP's tokens
  const layout = rows(...shape)
  expect(layout.elements / 2 / 256).toBeGreaterThan(device.limits.maxComputeWorkgroupsPerDimension)
  const { got, want } = await packed(layout, values(Uint16Array, shape[0] * shape[1]))
  expect(Buffer.compare(new Uint8Array(got.buffer), new Uint8Array(want.buffer))).toBe(0)
})
