import { describe, expect, it } from 'vitest'
import { PhospheneError } from '../error.ts'
import { Graph } from '../graph/graph.ts'
import { attention } from './attention.ts'
import { concat } from './concat.ts'
import { conv2d } from './conv2d.ts'
import { groupNorm } from './group-norm.ts'
import { geglu, linear, matmul } from './matmul.ts'
import { add } from './pointwise.ts'
import { reshape } from './reshape.ts'
import { slice } from './slice.ts'
import { upsampleNearest } from './upsample.ts'

function messageOf(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (error instanceof PhospheneError && error.code === 'graph/shape') return error.message
    throw error
  }
  throw new Error('no error was raised')
}

describe('functions of model code', () => {
  it('name parameters after the scope and give shapes', () => {
    const graph = new Graph('g')
    const g = graph.scope('down_blocks.0')
    const x = graph.input('x', [2, 9, 8, 6])
    const y = conv2d(g.scope('conv'), x, 12, { kernel: 3, stride: 2, padding: [0, 1, 1, 0] })
    expect(y.shape).toEqual([2, 4, 4, 12])
    const tokens = reshape(groupNorm(g.scope('norm'), y, { groups: 3, epsilon: 1e-5 }), [2, 16, 12])
    expect(geglu(g.scope('ff'), tokens, 20).shape).toEqual([2, 16, 20])
    expect(attention(g, tokens, tokens, tokens, { heads: 3 }).shape).toEqual([2, 16, 12])
    expect(upsampleNearest(y, 9, 8).shape).toEqual([2, 9, 8, 12])
    expect(concat([y, y]).shape).toEqual([2, 4, 4, 24])
    expect(matmul(tokens, tokens, { transposeB: true }).shape).toEqual([2, 16, 16])
    expect([...graph.params].map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
      'down_blocks.0.conv.weight 12,6,3,3',
      'down_blocks.0.conv.bias 12',
      'down_blocks.0.norm.weight 12',
      'down_blocks.0.norm.bias 12',
      'down_blocks.0.ff.weight 40,12',
      'down_blocks.0.ff.bias 40',
    ])
    expect(concat([y, y]).node?.scope).toBe('down_blocks.0.conv')
  })

  it('say where a shape is wrong, with both values', () => {
    const graph = new Graph('g')
    const g = graph.scope('mid_block')
    const x = graph.input('x', [1, 4, 4, 6])
    const tokens = graph.input('tokens', [2, 5, 6])
    const other = graph.input('other', [2, 5, 7])
    expect(messageOf(() => groupNorm(g.scope('norm'), x, { groups: 4, epsilon: 1e-5 }))).toBe(
      'mid_block.norm: 6 channels do not divide into 4 groups',
    )
    expect(messageOf(() => add(tokens, other))).toBe('pointwise: [2,5,6] and [2,5,7] do not broadcast (axis 2)')
    const row = graph.input('row', [1, 4, 6])
    expect(messageOf(() => add(row, x))).toContain('[1,4,6] meets [1,4,4,6]')
    expect(messageOf(() => matmul(tokens, other))).toContain('[2,5,6] has 6 features, the weight [2,5,7] takes 5')
    expect(messageOf(() => slice(x, 4, 7))).toContain('channels 4 to 7 of 6')
    expect(messageOf(() => reshape(x, [1, 16, 7]))).toContain('[1,4,4,6] cannot become [1,16,7]')
    expect(messageOf(() => conv2d(g, x, 1, { kernel: 5 }))).toBe(
      'mid_block: a kernel of 5×5 does not fit an image of 4×4',
    )
    expect(messageOf(() => attention(g, tokens, other, other, { heads: 2 }))).toContain('[2,5,6] and keys [2,5,7]')
    expect(messageOf(() => attention(g, tokens, tokens, tokens, { heads: 4 }))).toContain('6 channels')
    expect(linear(g.scope('proj'), x, 3).shape).toEqual([1, 4, 4, 3])
  })
})
