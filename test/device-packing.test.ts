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
import { devicePacking, isPlain } from '../src/run/webgpu/device-packing.ts'
import type { IncomingDType } from '../src/run/webgpu/incoming.ts'
import { readBuffer } from '../src/run/webgpu/program.ts'
import { toFloat16, toFloat32 } from '../src/tensor/convert.ts'
import { bytesPerElement, type StorageDType } from '../src/tensor/dtype.ts'
import { operand, softwareCapabilities } from './gpu.ts'

type Elements = Float32Array | Uint16Array

let device: Device

beforeAll(async () => {
  device = await openDevice({ kind: 'software' })
})

afterAll(() => {
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

/** Bytes as files hold them: finite values of many sizes, denormals among them. */
function fileBytes(from: IncomingDType, count: number): Uint8Array {
  const bytes = new Uint8Array(count * bytesPerElement[from])
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 13
  if (from === 'F32') for (let i = 3; i < bytes.length; i += 4) bytes[i] = (bytes[i]! & 0x80) | (50 + (i % 24)) // near 1
  if (from === 'BF16') for (let i = 1; i < bytes.length; i += 2) bytes[i] = (bytes[i]! & 0x80) | (50 + (i % 24))
  if (from === 'F16')
    for (let i = 1; i < bytes.length; i += 2) if ((bytes[i]! & 0x7c) === 0x7c) bytes[i] = bytes[i]! & 0xfb
  return bytes
}

interface Case {
  readonly from: IncomingDType
  readonly bytes: Uint8Array
  readonly layout: PreparedWeight
}

/** What the kernels make of the weights, queued one after the other, and what the host makes of them. */
async function packed(to: StorageDType, cases: readonly Case[]): Promise<{ got: Elements; want: Elements }[]> {
  const Kind = to === 'f16' ? Uint16Array : Float32Array
  const size = Kind.BYTES_PER_ELEMENT
  const weights = cases.map(({ from, bytes, layout }) => {
    // Storage, copied to and from: what a weight has.
    const target = device.buffer('target', layout.elements * size, 0x80 | 0x08 | 0x04)
    device.gpu.queue.writeBuffer(target, 0, new Uint8Array(target.size).fill(0x7e))
    return { from, sourceBytes: bytes.byteLength, layout, target }
  })
  const packing = await devicePacking(device, weights, to)
  for (const [i, { bytes }] of cases.entries()) {
    const words = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
    words.set(bytes)
    device.gpu.queue.writeBuffer(packing.source, 0, words)
    const encoder = device.gpu.createCommandEncoder()
    packing.encode(encoder, i)
    device.gpu.queue.submit([encoder.finish()])
  }
  const results: { got: Elements; want: Elements }[] = []
  for (const [i, { from, bytes, layout }] of cases.entries()) {
    const want = new Kind(layout.elements)
    layout.pack(to === 'f16' ? toFloat16(bytes, from) : toFloat32(bytes, from), want)
    const { target } = weights[i]!
    const got = new Kind(await readBuffer(device, { buffer: target, offset: 0, size: want.byteLength }))
    device.free(target)
    results.push({ got: got.subarray(0, want.length), want })
  }
  packing.dispose()
  return results
}

describe.each(['f16', 'f32'] as const)('to %s', (to) => {
  test.each(['F16', 'F32', 'BF16'] as const)('from %s, one weight after the other', async (from) => {
    const cases = layouts.map(([, count, layout]) => ({ from, bytes: fileBytes(from, count), layout }))
    for (const [i, { got, want }] of (await packed(to, cases)).entries()) expect(got, layouts[i]![0]).toEqual(want)
  })

  test('from files of several types', async () => {
    const types = ['F32', 'F16', 'BF16', 'F16', 'F32'] as const
    const cases = types.map((from, i) => {
      const [, count, layout] = layouts[[5, 9, 7, 0, 11][i]!]!
      return { from, bytes: fileBytes(from, count), layout }
    })
    for (const { got, want } of await packed(to, cases)) expect(got).toEqual(want)
  })
})

test('every half becomes its float', async () => {
  // Not numbers keep being none; their other bits are nobody's business.
  const halves = Uint16Array.from({ length: 65536 }, (_, bits) =>
    (bits & 0x7c00) === 0x7c00 && bits & 0x3ff ? 0 : bits,
  )
  const bytes = new Uint8Array(halves.buffer)
  const [{ got, want } = never()] = await packed('f32', [{ from: 'F16', bytes, layout: rows(1, 65536) }])
  expect(new Uint32Array(got.slice().buffer)).toEqual(new Uint32Array(want.slice().buffer))
})

test('floats become the nearest half: ties, denormals, overflow, infinity', async () => {
  const floats: number[] = []
  for (let exponent = -27; exponent <= 17; exponent++)
    for (const mantissa of [
      1,
      1 + 2 ** -11,
      1 + 2 ** -11 + 2 ** -20,
      1 + 3 * 2 ** -11,
      1.5,
      2 - 2 ** -11,
      2 - 2 ** -23,
    ])
      floats.push(mantissa * 2 ** exponent, -mantissa * 2 ** exponent)
  floats.push(0, -0, 65519.99, 65520, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, 1e-45)
  while (floats.length % 4) floats.push(0)
  const bytes = new Uint8Array(Float32Array.from(floats).buffer)
  const [{ got, want } = never()] = await packed('f16', [{ from: 'F32', bytes, layout: rows(1, floats.length) }])
  expect(got).toEqual(want)
})

test('what is plain is copied: halves to halves in rows of whole groups', () => {
  const plain = (from: IncomingDType, layout: PreparedWeight, count: number, to: StorageDType) =>
    isPlain({ from, sourceBytes: count * bytesPerElement[from], layout }, to)
  expect(plain('F16', rows(5, 8), 40, 'f16')).toBe(true)
  expect(plain('F32', rows(5, 8), 40, 'f32')).toBe(true)
  expect(plain('F32', rows(5, 8), 40, 'f16')).toBe(false)
  expect(plain('BF16', rows(5, 8), 40, 'f16')).toBe(false)
  expect(plain('F16', rows(7, 13), 91, 'f16')).toBe(false)
  expect(plain('F16', matrix(8, 4, true), 32, 'f16')).toBe(false)
  expect(plain('F16', conv(8, 4, 3, 3), 288, 'f16')).toBe(false)
})

test('a table whose words need more workgroups than one dimension has', { timeout: 60_000 }, async () => {
  const shape = [49408, 768] as const // CLIP's tokens
  const layout = rows(...shape)
  expect(layout.elements / 2 / 256).toBeGreaterThan(device.limits.maxComputeWorkgroupsPerDimension)
  const [{ got, want } = never()] = await packed('f16', [{ from: 'F16', bytes: fileBytes('F16', 49408 * 768), layout }])
  expect(Buffer.compare(new Uint8Array(got.buffer), new Uint8Array(want.buffer))).toBe(0)
})

function never(): never {
  throw new Error('nothing was packed')
}
