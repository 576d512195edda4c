import { expect, test } from 'vitest'
import type { DeviceRates, KernelTime } from './profiler.ts'
import { limitOf, nodeTimes, rate } from './roofline.ts'

const rates: DeviceRates = {
  bytesPerSecond: 1e12,
  vectorOperationsPerSecond: 50e12,
  matrixOperationsPerSecond: 500e12,
  source: 'published',
}

const kernel = (fields: Partial<KernelTime>): KernelTime => ({
  ...{ step: 0, scope: 'a', op: 'matmul', variant: 'tiled', label: 'product', shape: [1, 4] },
  ...{ startMs: 0, milliseconds: 1, macs: 0, bytes: 0, ...fields },
})

test('dispatches of one node are one, with the time of all and the span from first to last', () => {
  const nodes = nodeTimes([
    kernel({ step: 3, startMs: 0, milliseconds: 2, macs: 100, bytes: 10 }),
    kernel({ step: 3, startMs: 2.5, milliseconds: 1, label: 'sum' }),
    kernel({ step: 4, startMs: 4, scope: 'b' }),
  ])
  expect(nodes).toMatchObject([
    { scope: 'a', startMs: 0, endMs: 3.5, milliseconds: 3, macs: 100, bytes: 10 },
    { scope: 'b', startMs: 4, endMs: 5, milliseconds: 1 },
  ])
  expect(nodes[0]!.kernels.map(({ label }) => label)).toEqual(['product', 'sum'])
})

test('the limit is the larger of operations at the rate of their unit and bytes at the bandwidth', () => {
  // 2 · 25e9 operations: 1 ms on vector units, 0.1 ms on matrix units; 5e8 bytes: 0.5 ms.
  const work = { macs: 25e9, bytes: 5e8 }
  expect(limitOf({ ...work, variant: 'tiled' }, rates)).toEqual({ limitMs: 1, limitedBy: 'operations' })
  expect(limitOf({ ...work, variant: 'subgroup-matrix' }, rates)).toEqual({ limitMs: 0.5, limitedBy: 'bytes' })
  const without = { ...rates, matrixOperationsPerSecond: undefined }
  expect(limitOf({ ...work, variant: 'subgroup-matrix' }, without).limitMs).toBe(1)
})

test('several nodes together are rated by the sums of their work and of their own limits', () => {
  const nodes = nodeTimes([
    kernel({ step: 0, milliseconds: 2, macs: 25e9, bytes: 1e6 }), // limit 1 ms
    kernel({ step: 1, milliseconds: 2, bytes: 5e8 }), // limit 0.5 ms
  ])
  const { teraflops, gigabytesPerSecond, limitMs, share, limitedBy } = rate(nodes, rates)
  expect(limitMs).toBeCloseTo(1.5)
  expect(share).toBeCloseTo(1.5 / 4)
  expect(teraflops).toBeCloseTo(50e9 / 4e-3 / 1e12)
  expect(gigabytesPerSecond).toBeCloseTo(5.01e8 / 4e-3 / 1e9)
  expect(limitedBy).toBe('operations')
})
