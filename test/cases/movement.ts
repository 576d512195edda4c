// Cases of the ops that only move elements: embedding, upsample, concat, slice, reshape, rows.
import { binary, input, siluExpr } from '../../src/graph/expr.ts'
import type { CaseInput, OpCase } from './case.ts'

const silu = { expr: siluExpr(input(0)), inputs: [] }

function embed(n: number, t: number, vocabulary: number, channels: number): OpCase {
  const inputs: CaseInput[] = [
    { shape: [n, t], below: vocabulary },
    { shape: [vocabulary, channels], param: true },
  ]
  return { name: `${n}×${t} of ${vocabulary}×${channels}`, op: 'embedding', inputs, attrs: {} }
}

function upsample(shape: readonly [number, number, number, number], height: number, width: number): OpCase {
  return { name: `${shape} to ${height}×${width}`, op: 'upsample', inputs: [{ shape }], attrs: { height, width } }
}

function concat(name: string, ...shapes: (readonly number[])[]): OpCase {
  return { name, op: 'concat', inputs: shapes.map((shape) => ({ shape })), attrs: { axis: -1 } }
}

function slice(shape: readonly number[], start: number, end: number): OpCase {
  return { name: `${shape} from ${start} to ${end}`, op: 'slice', inputs: [{ shape }], attrs: { start, end } }
}

function sliceRows(shape: readonly number[], start: number, end: number): OpCase {
  return { name: `${shape} from ${start} to ${end}`, op: 'sliceRows', inputs: [{ shape }], attrs: { start, end } }
}

function joinRows(...shapes: (readonly number[])[]): OpCase {
  return { name: shapes.join(' over '), op: 'joinRows', inputs: shapes.map((shape) => ({ shape })), attrs: {} }
}

function reshape(from: readonly number[], shape: readonly number[]): OpCase {
  return { name: `${from} to ${shape}`, op: 'reshape', inputs: [{ shape: from }], attrs: { shape } }
}

export const embeddingCases: readonly OpCase[] = [
  embed(1, 1, 1, 1),
  embed(1, 77, 101, 32),
  embed(2, 13, 49, 10),
  { ...embed(2, 5, 17, 12), name: 'with an epilogue', epilogue: silu },
]

export const upsampleCases: readonly OpCase[] = [
  upsample([1, 1, 1, 1], 2, 2),
  upsample([1, 4, 4, 8], 8, 8),
  upsample([2, 3, 5, 6], 6, 10),
  upsample([1, 3, 4, 5], 5, 7),
  upsample([1, 5, 3, 4], 9, 6),
  upsample([1, 7, 6, 3], 13, 11),
  upsample([1, 3, 2, 8], 9, 8),
  upsample([1, 2, 3, 4], 2, 3),
  { ...upsample([1, 3, 3, 6], 6, 6), name: 'with an epilogue', epilogue: silu },
]

export const concatCases: readonly OpCase[] = [
  concat('one', [1, 3, 4, 5]),
  concat('skip connection', [2, 4, 4, 12], [2, 4, 4, 8]),
  concat('tails', [1, 3, 5, 3], [1, 3, 5, 6]),
  concat('single channels', [1, 3, 5, 1], [1, 3, 5, 1]),
  concat('three', [1, 4, 4, 4], [1, 4, 4, 1], [1, 4, 4, 4]),
  concat('five', [1, 2, 2, 1], [1, 2, 2, 2], [1, 2, 2, 3], [1, 2, 2, 4], [1, 2, 2, 5]),
  concat('tokens', [2, 7, 24], [2, 7, 40]),
  concat('rows', [2, 10], [2, 7]),
  {
    ...concat('with an epilogue', [2, 4, 4, 6], [2, 4, 4, 8]),
    epilogue: { expr: binary('mul', input(0), input(1)), inputs: [{ shape: [2, 1, 1, 14] }] },
  },
]

export const sliceCases: readonly OpCase[] = [
  slice([1, 3, 4, 8], 0, 4),
  slice([1, 3, 4, 8], 4, 8),
  slice([2, 3, 4, 11], 3, 10),
  slice([2, 7, 24], 8, 20),
  slice([2, 7, 24], 12, 13),
  slice([5, 9], 1, 9),
  slice([1, 2, 2, 5], 0, 5),
  { ...slice([2, 4, 4, 8], 4, 8), name: 'with an epilogue', epilogue: silu },
]

export const sliceRowsCases: readonly OpCase[] = [
  sliceRows([1, 5, 3, 6], 0, 2),
  sliceRows([1, 5, 3, 6], 4, 5),
  sliceRows([1, 7, 12], 2, 6),
  sliceRows([1, 4, 2, 3, 8], 1, 3),
]

export const joinRowsCases: readonly OpCase[] = [
  joinRows([1, 3, 4, 8]),
  joinRows([1, 2, 5, 6], [1, 3, 5, 6]),
  joinRows([1, 1, 3, 3], [1, 4, 3, 3], [1, 1, 3, 3]),
  joinRows([1, 5, 12], [1, 2, 12]),
]

export const reshapeCases: readonly OpCase[] = [
  reshape([2, 5, 3, 6], [2, 15, 6]),
  reshape([2, 15, 6], [2, 5, 3, 6]),
  reshape([2, 15, 6], [2, 3, 5, 6]),
  reshape([2, 3, 5, 6], [2, 5, 3, 6]),
  reshape([2, 12], [2, 1, 1, 12]),
  reshape([2, 1, 1, 12], [2, 12]),
  reshape([1, 4, 4, 1], [1, 16, 1]),
  reshape([2, 3, 8], [6, 8]),
  reshape([2, 3, 8], [2, 3, 8]),
  { ...reshape([1, 4, 3, 6], [1, 12, 6]), name: 'with an epilogue', epilogue: silu },
]
