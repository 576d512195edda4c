// Which group normalisations become moments that convolutions apply, what must be left alone, and that results stay.
import { describe, expect, it } from 'vitest'
import { checkGraph } from '../graph/check.ts'
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import type { Conv2dAttrs } from '../ops/attrs.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { add, gelu, silu } from '../ops/pointwise.ts'
import { groupNormOnLoad } from './group-norm-on-load.ts'
import { optimise } from './passes.ts'

const norm = (g: Scope, x: Value) => groupNorm(g, x, { groups: 2, epsilon: 1e-5 })
const conv = (g: Scope, x: Value) => conv2d(g, x, 4, { kernel: 3, padding: 1 })

function graphOf(side: number, build: (g: Scope, x: Value) => Record<string, Value>): Graph {
  const graph = new Graph('test')
  const x = graph.input('x', [2, side, side, 4])
  for (const [name, value] of Object.entries(build(graph.scope(), x))) graph.output(name, value)
  return optimise(graph)
}

/** Op names; convolutions that normalise what they load with the way they do, and what they read. */
function sketch(graph: Graph): string[] {
  checkGraph(graph, 'groupNormOnLoad')
  return graph.nodes.map(({ op, attrs, inputs }) => {
    const { normalised } = attrs as Partial<Conv2dAttrs>
    return normalised ? `${op.name} ${normalised} ${inputs.map(({ name }) => name).join(', ')}` : op.name
  })
}

describe('groupNormOnLoad', () => {
  it('hands moments and beta to the convolution, with the SiLU between', () => {
    const graph = graphOf(16, (g, x) => ({ y: conv(g.scope('c'), silu(norm(g.scope('n'), x))) }))
    expect(sketch(groupNormOnLoad(graph))).toEqual([
      'channelMoments',
      'groupMoments',
      'conv2d silu x, c.weight, c.bias, groupMoments, n.bias',
    ])
  })

  it('serves several convolutions from one pair of moments', () => {
    const graph = graphOf(16, (g, x) => {
      const normed = norm(g.scope('n'), x)
      return { y: conv(g.scope('a'), normed), z: conv(g.scope('b'), normed) }
    })
    const [, , ...convolutions] = sketch(groupNormOnLoad(graph))
    expect(convolutions.map((each) => each.split(',')[0])).toEqual(['conv2d linear x', 'conv2d linear x'])
  })

  it.each([
    ['a small image', 8, (g: Scope, x: Value) => ({ y: conv(g.scope('c'), norm(g.scope('n'), x)) })],
    ['another activation', 16, (g: Scope, x: Value) => ({ y: conv(g.scope('c'), gelu(norm(g.scope('n'), x))) })],
    [
      'a result of the graph',
      16,
      (g: Scope, x: Value) => {
        const normed = norm(g.scope('n'), x)
        return { y: conv(g.scope('c'), normed), normed }
      },
    ],
    [
      'what is added elsewhere too',
      16,
      (g: Scope, x: Value) => {
        const normed = norm(g.scope('n'), x)
        return { y: add(conv(g.scope('c'), normed), normed) }
      },
    ],
  ])('leaves %s alone', (_, side, build) => {
    const graph = graphOf(side, build)
    expect(sketch(groupNormOnLoad(graph))).toEqual(sketch(graph))
  })
})
