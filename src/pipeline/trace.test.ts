import { expect, test } from 'vitest'
import type { GenerationProfile } from './result.ts'
import { traceOf } from './trace.ts'

const about = { device: { kind: 'gpu', name: 'a GPU' }, dtype: 'f16', settings: { seed: 7 } } as const
const nothing: GenerationProfile = { stages: [], components: [], rates: undefined, withoutKernels: undefined }
const spans = (profile: GenerationProfile) => traceOf(profile, about).traceEvents.filter(({ ph }) => ph === 'X')

test('stages that overlap by a moment follow each other, and loading has tracks of its own', () => {
  const stages = [
    { name: 'step 2', startMs: 119.999, endMs: 130 },
    { name: 'denoise', startMs: 100, endMs: 140 },
    { name: 'step 1', startMs: 100, endMs: 120 },
    { name: 'load unet', startMs: 90, endMs: 110 },
    { name: 'load vae', startMs: 100, endMs: 125 },
  ]
  expect(spans({ ...nothing, stages }).map(({ name, tid, ts, dur }) => [name, tid, ts, dur])).toEqual([
    ['denoise', 1, 10_000, 40_000],
    ['step 1', 1, 10_000, 20_000],
    ['step 2', 1, 30_000, 10_000],
    ['load unet', 2, 0, 20_000],
    ['load vae', 3, 10_000, 25_000],
  ])
})

test('a node of several dispatches spans them, with its work on itself; times count from the component’s start', () => {
  const common = { step: 4, scope: 'conv_in', op: 'conv2d', variant: 'subgroup-matrix', shape: [1, 8, 8, 4] }
  const kernels = [
    { ...common, label: 'products', startMs: 0, milliseconds: 1, macs: 1e9, bytes: 1e6 },
    { ...common, label: 'sums', startMs: 1.25, milliseconds: 0.5, macs: 0, bytes: 0 },
  ]
  const [, whole, products, sums] = spans({
    stages: [{ name: 'text', startMs: 50, endMs: 60 }],
    components: [{ component: 'unet', startMs: 70, kernels }],
    rates: {
      bytesPerSecond: 1e12,
      vectorOperationsPerSecond: 1e12,
      matrixOperationsPerSecond: 4e12,
      source: 'measured',
    },
    withoutKernels: undefined,
  })
  expect(whole).toMatchObject({ name: 'conv2d subgroup-matrix', cat: 'unet', ts: 20_000, dur: 1750 })
  expect(whole!.args).toMatchObject({
    ...{ scope: 'conv_in', macs: 1e9, bytes: 1e6, milliseconds: 1.5 },
    ...{ 'TFLOP/s': 1.333, 'GB/s': 0.6667, 'share of the limit': 0.3333, 'limited by': 'operations' },
  })
  expect([products, sums]).toMatchObject([
    { name: 'products', ts: 20_000, dur: 1000 },
    { name: 'sums', ts: 21_250, dur: 500 },
  ])
})

test('says why there are no kernels', () => {
  const { otherData } = traceOf({ ...nothing, withoutKernels: 'no timestamps' }, about)
  expect(otherData).toMatchObject({ adapter: 'a GPU', dtype: 'f16', seed: 7, kernels: 'no timestamps' })
})
