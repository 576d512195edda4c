import { describe, expect, it } from 'vitest'
import { Graph } from '../../graph/graph.ts'
import { embedding } from '../../ops/embedding.ts'
import { linear } from '../../ops/matmul.ts'
import { silu } from '../../ops/pointwise.ts'
import type { ParameterSource } from '../executor.ts'
import { referenceExecutor } from './executor.ts'

const graph = new Graph('net')
const g = graph.scope()
const ids = graph.input('ids', [1, 2], 'int')
graph.output('out', silu(linear(g.scope('proj'), embedding(g.scope('tokens'), ids, 3, 2), 2)))

const weights: Readonly<Record<string, readonly number[]>> = {
  'tokens.weight': [9, 9, 1, 2, 3, -4],
  'proj.weight': [1, 10, 0.5, 0],
  'proj.bias': [0.25, -1],
}
const source: ParameterSource = {
  label: 'memory',
  tensors: new Map([...graph.params].map(([name, { shape }]) => [name, { dtype: 'F32' as const, shape }])),
  read: async (name) => new Uint8Array(Float32Array.from(weights[name]!).buffer),
  locate: () => undefined,
}

describe('referenceExecutor', () => {
  it('runs a graph', async () => {
    const session = await referenceExecutor().load(graph, source, { dtype: 'f32' })
    const { out } = await session.run({ ids: Int32Array.from([2, 1]) })
    const want = [3 - 40 + 0.25, 1.5 - 1, 1 + 20 + 0.25, 0.5 - 1].map((x) => Math.fround(x / (1 + Math.exp(-x))))
    expect([...out!]).toEqual(want)
  })

  it('stops when asked to', async () => {
    const session = await referenceExecutor().load(graph, source, { dtype: 'f32' })
    const signal = AbortSignal.abort()
    await expect(session.run({ ids: Int32Array.from([0, 0]) }, signal)).rejects.toMatchObject({ code: 'aborted' })
  })

  it('names a tensor that is missing', async () => {
    const tensors = new Map([...source.tensors].filter(([name]) => name !== 'proj.bias'))
    await expect(referenceExecutor().load(graph, { ...source, tensors }, { dtype: 'f32' })).rejects.toMatchObject({
      code: 'weights/missing-key',
      message: expect.stringContaining('proj.bias'),
    })
  })
})
