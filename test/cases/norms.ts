// Cases of groupNorm, of its parts and of layerNorm.
import { input, siluExpr } from '../../src/graph/expr.ts'
import type { GroupMomentsAttrs, GroupNormAttrs, LayerNormAttrs } from '../../src/ops/attrs.ts'
import { type OpCase, vector } from './case.ts'

interface Options {
  readonly epsilon?: number
  readonly mean?: number
  readonly deviation?: number
  readonly epilogue?: OpCase['epilogue']
}

function group(name: string, shape: readonly number[], groups: number, options: Options = {}): OpCase {
  const { epsilon = 1e-5, mean = 0, deviation = 1, epilogue } = options
  const attrs: GroupNormAttrs = { groups, epsilon }
  const channels = shape.at(-1)!
  const inputs = [{ shape, mean, deviation }, vector(channels, 1), vector(channels)]
  return { name, op: 'groupNorm', inputs, attrs, ...(epilogue ? { epilogue } : {}) }
}

function layer(name: string, shape: readonly number[], options: Options = {}): OpCase {
  const { epsilon = 1e-5, mean = 0, deviation = 1, epilogue } = options
  const attrs: LayerNormAttrs = { epsilon }
  const channels = shape.at(-1)!
  const inputs = [{ shape, mean, deviation }, vector(channels, 1), vector(channels)]
  return { name, op: 'layerNorm', inputs, attrs, ...(epilogue ? { epilogue } : {}) }
}

function channelMoments(shape: readonly number[], rows: number, mean = 0): OpCase {
  return { name: `${shape} by ${rows} rows`, op: 'channelMoments', inputs: [{ shape, mean }], attrs: { rows } }
}

function groupMoments(channels: number, groups: number, pixels: number, partPixels: number, images = 1): OpCase {
  const attrs: GroupMomentsAttrs = { groups, epsilon: 1e-5, pixels, partPixels }
  const shape = [images, Math.ceil(pixels / partPixels), 2, channels]
  // Squared deviations are not negative.
  const inputs = [{ shape, mean: 10 }, vector(channels, 1)]
  return {
    name: `${images} × ${channels} channels in ${groups}, ${pixels} pixels by ${partPixels}`,
    op: 'groupMoments',
    inputs,
    attrs,
  }
}

function normalise(name: string, shape: readonly number[], epilogue?: OpCase['epilogue']): OpCase {
  const channels = shape.at(-1)!
  const inputs = [{ shape }, { shape: [shape[0]!, 2, channels], mean: 1, deviation: 0.5 }, vector(channels)]
  return { name, op: 'normalise', inputs, attrs: {}, ...(epilogue ? { epilogue } : {}) }
}

function rowMoments(name: string, shape: readonly number[], options: Options = {}): OpCase {
  const { epsilon = 1e-5, mean = 0, deviation = 1 } = options
  return { name, op: 'rowMoments', inputs: [{ shape, mean, deviation }], attrs: { epsilon } }
}

const silu = { expr: siluExpr(input(0)), inputs: [] }

export const groupNormCases: readonly OpCase[] = [
  group('one pixel, two channels', [1, 1, 1, 2], 1),
  group('one channel a group', [1, 4, 5, 6], 6),
  group('one group', [2, 3, 4, 7], 1),
  group('groups of 2', [2, 5, 3, 16], 8),
  group('groups of 3', [2, 8, 8, 96], 32),
  group('groups of 4', [1, 7, 9, 128], 32),
  group('groups of 5', [1, 3, 3, 10], 2),
  group('groups of 6', [1, 8, 8, 192], 32),
  group('groups of 7, spilling over fours', [2, 4, 4, 224], 32),
  group('groups of 10', [1, 8, 8, 320], 32),
  group('primes', [1, 11, 13, 15], 5),
  group('an image of some size', [1, 32, 32, 32], 16),
  group('many pixels', [1, 64, 64, 8], 4),
  group('tokens', [2, 37, 24], 4),
  group('rows alone', [3, 12], 4),
  group('mean ten deviations away', [1, 8, 8, 16], 4, { mean: 10 }),
  group('small values, vae epsilon', [1, 8, 8, 16], 4, { deviation: 1e-3, epsilon: 1e-6 }),
  group('silu', [2, 6, 5, 12], 3, { epilogue: silu }),
]

export const channelMomentsCases: readonly OpCase[] = [
  channelMoments([1, 1, 1, 1], 1),
  channelMoments([1, 5, 7, 6], 2),
  channelMoments([1, 4, 33, 40], 4),
  channelMoments([1, 8, 16, 128], 3),
  channelMoments([1, 6, 5, 12], 2, 10),
  channelMoments([3, 5, 7, 6], 2),
  channelMoments([2, 8, 9, 40], 4),
]

export const groupMomentsCases: readonly OpCase[] = [
  groupMoments(4, 4, 1, 1),
  groupMoments(8, 2, 64, 16),
  groupMoments(10, 2, 35, 15),
  groupMoments(14, 7, 40, 16),
  groupMoments(96, 32, 100, 10),
  groupMoments(320, 32, 4096, 256),
  groupMoments(10, 2, 35, 15, 3),
  groupMoments(96, 32, 100, 10, 2),
]

export const normaliseCases: readonly OpCase[] = [
  normalise('one pixel', [1, 1, 1, 3]),
  normalise('rows of an image', [1, 3, 7, 40]),
  normalise('silu', [1, 2, 5, 14], silu),
  normalise('three images', [3, 3, 5, 10]),
]

export const layerNormCases: readonly OpCase[] = [
  layer('two channels', [1, 1, 2]),
  layer('primes', [2, 7, 13]),
  layer('tail', [1, 5, 62]),
  layer('text', [2, 77, 192]),
  layer('tokens', [2, 64, 96]),
  layer('wide', [1, 3, 1280]),
  layer('matrix', [9, 40]),
  layer('an image', [1, 4, 3, 20]),
  layer('mean ten deviations away', [1, 6, 64], { mean: 10 }),
  layer('silu', [2, 5, 24], { epilogue: silu }),
]

export const rowMomentsCases: readonly OpCase[] = [
  rowMoments('one channel', [3, 1]),
  rowMoments('two channels', [1, 1, 2]),
  rowMoments('primes', [2, 7, 13]),
  rowMoments('tail', [1, 5, 62]),
  rowMoments('tokens', [2, 65, 96]),
  rowMoments('wide', [1, 3, 1280]),
  rowMoments('an image', [1, 4, 3, 20]),
  rowMoments('mean a hundred deviations away', [1, 6, 64], { mean: 100 }),
  rowMoments('small values', [1, 9, 40], { deviation: 1e-3, epsilon: 1e-6 }),
]
