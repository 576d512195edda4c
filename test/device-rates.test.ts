// The short tests that find a device's limits: their texts compile, and on SwiftShader they do the work that they claim.
import { afterAll, expect, it } from 'vitest'
import { openDevice } from '../src/device/node.ts'
import { measuredRates, publishedRates } from '../src/run/webgpu/device-rates.ts'
import { readBuffer } from '../src/run/webgpu/program.ts'
import { copyText, matrixText, rateLanes, vectorMacs, vectorText } from '../src/run/webgpu/rate-kernels.ts'
import { validateOnNull } from './gpu.ts'

const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
afterAll(() => device.destroy())

it.each([
  ['copy', copyText(1000, 3)],
  ['vector', vectorText(16)],
  ['matrix', matrixText(16)],
])('%s compiles', async (_, wgsl) => {
  expect(await validateOnNull(wgsl)).toEqual([])
})

async function run(wgsl: string, [x, y]: readonly [number, number], source: Float32Array<ArrayBuffer>, floats: number) {
  const usage = 0x80 | 0x08 | 0x04 // STORAGE | COPY_DST | COPY_SRC
  const buffers = [device.buffer('source', source.byteLength, usage), device.buffer('target', floats * 4, usage)]
  device.gpu.queue.writeBuffer(buffers[0]!, 0, source)
  const encoder = device.gpu.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(await device.pipeline(wgsl, 'test'))
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
  pass.setBindGroup(0, device.gpu.createBindGroup({ layout: device.layout(wgsl), entries }))
  pass.dispatchWorkgroups(x, y)
  pass.end()
  device.gpu.queue.submit([encoder.finish()])
  return new Float32Array(await readBuffer(device, { buffer: buffers[1]!, offset: 0, size: floats * 4 }))
}

it('the copy copies everything, in more rows of workgroups than one too', async () => {
  const vectors = rateLanes * 6 - 5
  const source = Float32Array.from({ length: vectors * 4 }, (_, i) => i + 1)
  expect(await run(copyText(vectors, 3), [3, 2], source, vectors * 4)).toEqual(source)
})

it('the vector test adds up as many multiply-adds as it counts', async () => {
  const turns = 5
  // x → x · 1 + 1 in each turn: every chain counts its turns, four components of eight chains.
  const sums = await run(vectorText(turns), [1, 1], Float32Array.of(1, 1, 1, 1, 1, 1, 1, 1), rateLanes * 4)
  const starts = (lane: number) => 8 * lane + 28
  const counted = [...sums].map((sum, i) => sum - starts(Math.floor(i / 4)))
  expect(new Set(counted)).toEqual(new Set([turns * 8]))
  expect(vectorMacs(turns)).toBe(4 * turns * 8)
})

it('measures what a device that computes on the CPU can reach', async () => {
  const { bytesPerSecond, vectorOperationsPerSecond, matrixOperationsPerSecond, source } = await measuredRates(device)
  for (const rate of [bytesPerSecond, vectorOperationsPerSecond]) {
    expect(rate).toBeGreaterThan(1e6)
    expect(rate).toBeLessThan(1e13)
  }
  expect(matrixOperationsPerSecond).toBeUndefined()
  expect(source).toBe('measured')
})

it('knows the published figures of some adapters by name, matrix units only where WebGPU offers them', () => {
  const shapes = [{ m: 16, n: 16, k: 16, result: 'f32' as const }]
  const rates = (name: string, matrixShapes = shapes) => publishedRates({ ...device.description, name, matrixShapes })
  expect(rates('NVIDIA H100 80GB HBM3')).toMatchObject({ bytesPerSecond: 3.35e12, matrixOperationsPerSecond: 989.4e12 })
  expect(rates('NVIDIA H200')).toMatchObject({ bytesPerSecond: 4.8e12 })
  expect(rates('NVIDIA H100 80GB HBM3', [])!.matrixOperationsPerSecond).toBeUndefined()
  expect(rates('SwiftShader driver 5.0.0')).toBeUndefined()
})
