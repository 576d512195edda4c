// What a device can do at most: its maker's figures where the adapter is known, else what short tests reach on it.
import type { Device, DeviceDescription } from '../../device/device.ts'
import { deviceHasMatrices } from '../../kernels/matmul/matrix-variant.ts'
import type { DeviceRates } from '../profiler.ts'
import { capabilitiesOf } from './capabilities.ts'
import { readBuffer } from './program.ts'
import { copyText, matrixMacs, matrixText, rateLanes, vectorMacs, vectorText } from './rate-kernels.ts'

/** NVIDIA's data sheets, dense: TB/s, TFLOP/s in f32, TFLOP/s of matrix units with f16 factors and f32 sums. */
const published: readonly (readonly [adapter: RegExp, terabytes: number, vector: number, matrix: number])[] = [
  [/\bH200\b/, 4.8, 66.9, 989.4],
  [/\bH100 .*HBM3/, 3.35, 66.9, 989.4],
  [/\bH100 PCIe/, 2.0, 51.2, 756.5],
  [/\bA100.*80GB/, 2.039, 19.5, 312],
  [/\bA100.*40GB/, 1.555, 19.5, 312],
  [/\bRTX 4090\b/, 1.008, 82.6, 165.2],
]

/** The maker's figures; undefined for adapters that are not in the table. */
export function publishedRates({ name, matrixShapes }: DeviceDescription): DeviceRates | undefined {
  const row = published.find(([adapter]) => adapter.test(name))
  if (!row) return undefined
  const [, terabytes, vector, matrix] = row
  return {
    bytesPerSecond: terabytes * 1e12,
    vectorOperationsPerSecond: vector * 1e12,
    matrixOperationsPerSecond: matrixShapes.length > 0 ? matrix * 1e12 : undefined,
    source: 'published',
  }
}

const usage = { storage: 0x80 | 0x08 | 0x04, resolve: 0x200 | 0x04 } // STORAGE|COPY_DST|COPY_SRC, QUERY_RESOLVE|COPY_SRC

/** Sizes: large enough for a GPU's clock and caches, small enough for a driver that computes on the CPU. */
const sizes = {
  gpu: { copyBytes: 128 * 1024 * 1024, workgroups: 4096, turns: 512 },
  software: { copyBytes: 16 * 1024 * 1024, workgroups: 64, turns: 128 },
} as const

/** Shorter measurements are doubled in length. */
const enoughMs = 8

/** Measures; well under a second. Needs timestamps. */
export async function measuredRates(device: Device): Promise<DeviceRates> {
  const { copyBytes, workgroups, turns } = sizes[device.description.kind]
  const bytes = Math.min(copyBytes, device.limits.maxStorageBufferBindingSize)
  const vectors = bytes / 16
  const groups = Math.ceil(vectors / rateLanes)
  const columns = Math.min(groups, device.limits.maxComputeWorkgroupsPerDimension)
  const [source, target] = await device.allocate('the test of its speed', usage.storage, [
    { label: 'source', bytes },
    { label: 'target', bytes },
  ])
  device.gpu.queue.writeBuffer(source!, 0, Float32Array.from([0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1]))
  const perSecond = (wgsl: string, [x, y]: readonly [number, number], work: number) =>
    fastest(device, wgsl, [x, y], [source!, target!]).then((ms) => (work / ms) * 1000)
  try {
    return {
      bytesPerSecond: await perSecond(copyText(vectors, columns), [columns, Math.ceil(groups / columns)], 2 * bytes),
      vectorOperationsPerSecond: await perSecond(
        vectorText(turns),
        [workgroups, 1],
        2 * vectorMacs(turns) * workgroups * rateLanes,
      ),
      matrixOperationsPerSecond: deviceHasMatrices(capabilitiesOf(device))
        ? await perSecond(matrixText(turns), [workgroups, 1], (2 * matrixMacs(turns) * workgroups * rateLanes) / 32)
        : undefined,
      source: 'measured',
    }
  } finally {
    for (const buffer of [source!, target!]) device.free(buffer)
  }
}

/** Milliseconds of one dispatch: many in one pass between two timestamps, the best of three. */
async function fastest(
  device: Device,
  wgsl: string,
  [x, y]: readonly [number, number],
  buffers: readonly GPUBuffer[],
): Promise<number> {
  const pipeline = await device.pipeline(wgsl, 'rate')
  const bindGroup = device.gpu.createBindGroup({
    layout: device.layout(wgsl),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  })
  const queries = device.gpu.createQuerySet({ type: 'timestamp', count: 2 })
  const resolved = device.buffer('timestamps', 16, usage.resolve)
  const time = async (repeats: number): Promise<number> => {
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
    })
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, bindGroup)
    for (let i = 0; i < repeats; i++) pass.dispatchWorkgroups(x, y)
    pass.end()
    encoder.resolveQuerySet(queries, 0, 2, resolved, 0)
    device.gpu.queue.submit([encoder.finish()])
    const [from, to] = new BigUint64Array(await readBuffer(device, { buffer: resolved, offset: 0, size: 16 }))
    return Number(to! - from!) / 1e6
  }
  try {
    let repeats = 1
    while ((await time(repeats)) < enoughMs && repeats < 4096) repeats *= 2
    const times = [await time(repeats), await time(repeats), await time(repeats)]
    return Math.min(...times) / repeats
  } finally {
    queries.destroy()
    device.free(resolved)
  }
}
