// Which layer normalisations become moments that products apply, what must be left alone, and that results stay.
import { describe, expect, it } from 'vitest'
import { checkGraph } from '../graph/check.ts'
import { binary, type Expr, input } from '../graph/expr.ts'
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import type { MatmulAttrs } from '../ops/attrs.ts'
import { layerNorm } from '../ops/layer-norm.ts'
import { linear, matmul } from '../ops/matmul.ts'
import { add, gelu, mul, pointwise } from '../ops/pointwise.ts'
import { reshape } from '../ops/reshape.ts'
import { slice } from '../ops/slice.ts'
import { chunkFeedForward } from './chunk-feed-forward.ts'
import { normaliseOnLoad } from './normalise-on-load.ts'
import { optimise } from './passes.ts'

const norm = (g: Scope, x: Value) => layerNorm(g, x, { epsilon: 1e-5 })

function graphOf(rows: number, build: (g: Scope, x: Value) => Record<string, Value>): Graph {
  const graph = new Graph('test')
  const x = graph.input('x', [2, rows / 2, 16])
  for (const [name, value] of Object.entries(build(graph.scope(), x))) graph.output(name, value)
  return graph
}

/** Op names; products that normalise what they load with a star, and what they read. */
function sketch(graph: Graph): string[] {
  checkGraph(graph, 'normaliseOnLoad')
  return graph.nodes.map(({ op, attrs, inputs }) =>
    (attrs as Partial<MatmulAttrs>).normalised ? `${op.name}* ${inputs.map(({ name }) => name).join(', ')}` : op.name,
  )
}

/** A transformer block's three normalisations and their products. */
function block(g: Scope, x: Value): Value {
  const attend = (a: Scope, y: Value, context: Value) => {
    const [q, k, v] = ['to_q', 'to_k', 'to_v'].map((name, i) =>
      linear(a.scope(name), i === 0 ? y : context, 16, { bias: false }),
    )
    return linear(a.scope('to_out'), attention(a, q!, k!, v!, { heads: 2 }), 16)
  }
  const text = g.graph.input('text', [2, 5, 8])
  const first = norm(g.scope('norm1'), x)
  let h = add(x, attend(g.scope('attn1'), first, first))
  h = add(h, attend(g.scope('attn2'), norm(g.scope('norm2'), h), text))
  const both = linear(g.scope('ff.0'), norm(g.scope('norm3'), h), 128)
  return add(h, linear(g.scope('ff.2'), mul(slice(both, 0, 64), gelu(slice(both, 64, 128))), 16))
}

describe('normaliseOnLoad', () => {
  it('hands a row’s moments, gamma and beta to the product', () => {
    const graph = graphOf(256, (g, x) => ({ y: linear(g.scope('l'), norm(g.scope('n'), x), 8) }))
    expect(sketch(normaliseOnLoad(graph))).toEqual([
      'rowMoments',
      'matmul* x, l.weight, l.bias, n/rowMoments, n.weight, n.bias',
    ])
  })

  it('serves several products from one pair of moments', () => {
    const graph = graphOf(256, (g, x) => {
      const normed = norm(g.scope('n'), x)
      return { y: linear(g.scope('a'), normed, 8), z: linear(g.scope('b'), normed, 4, { bias: false }) }
    })
    const [moments, ...products] = sketch(normaliseOnLoad(graph))
    expect(moments).toBe('rowMoments')
    expect(products).toEqual([
      'matmul* x, a.weight, a.bias, n/rowMoments, n.weight, n.bias',
      'matmul* x, b.weight, n/rowMoments, n.weight, n.bias',
    ])
  })

  it('finds all three of a transformer block, behind merged and gated products, whole and in chunks', () => {
    const options = { normaliseOnLoad: true }
    const graph = optimise(
      graphOf(512, (g, x) => ({ y: block(g, x) })),
      options,
    )
    const stars = sketch(graph).filter((each) => each.includes('*'))
    expect(stars.map((each) => each.split(', ')[1])).toEqual([
      'attn1.to_q.weight and 2 more',
      'attn2.to_q.weight',
      'ff.0.weight',
    ])
    expect(graph.nodes.some(({ op }) => op.name === 'layerNorm')).toBe(false)
    const plain = optimise(graphOf(512, (g, x) => ({ y: block(g, x) })))
    const chunked = sketch(normaliseOnLoad(chunkFeedForward(plain, 2)))
    expect(chunked.filter((each) => each.includes('ff.0.weight'))).toHaveLength(2)
    expect(chunked.filter((each) => each === 'rowMoments')).toHaveLength(4)
    expect(chunked).not.toContain('layerNorm')
  })

  it.each<[string, number, (g: Scope, x: Value) => Record<string, Value>]>([
    ['few rows', 254, (g, x) => ({ y: linear(g.scope('l'), norm(g.scope('n'), x), 8) })],
    [
      'what is returned',
      256,
      (g, x) => {
        const normed = norm(g.scope('n'), x)
        return { normed, y: linear(g.scope('l'), normed, 8) }
      },
    ],
    [
      'what something else reads as well',
      256,
      (g, x) => {
        const normed = norm(g.scope('n'), x)
        return { y: add(normed, linear(g.scope('l'), normed, 16)) }
      },
    ],
    [
      'what is read through a view',
      256,
      (g, x) => ({
        y: linear(g.scope('l'), reshape(norm(g.scope('n'), x), [1, 256, 16]), 8),
      }),
    ],
    [
      'both operands of a product',
      256,
      (g, x) => {
        const normed = norm(g.scope('n'), x)
        return { y: matmul(normed, normed, { transposeB: true }) }
      },
    ],
    [
      'a transposed operand',
      256,
      (g, x) => ({
        y: matmul(norm(g.scope('n'), x), g.graph.input('b', [2, 128, 4]), { transposeA: true }),
      }),
    ],
  ])('leaves %s alone', (_, rows, build) => {
    const graph = graphOf(rows, build)
    expect(sketch(normaliseOnLoad(graph))).toEqual(sketch(graph))
  })

  it('leaves a product alone that would bind more than WebGPU promises', () => {
    const build = (residuals: number) =>
      optimise(
        graphOf(256, (g, x) => {
          const y = linear(g.scope('l'), norm(g.scope('n'), x), 16)
          const others = Array.from({ length: residuals }, (_, i) => g.graph.input(`r${i}`, x.shape))
          const sum = others
            .map((_, i) => input(i + 1))
            .reduce<Expr>((terms, term) => binary('add', terms, term), input(0))
          return { y: pointwise(sum, [y, ...others]) }
        }),
        { normaliseOnLoad: true },
      )
    expect(sketch(build(1))[0]).toBe('rowMoments')
    expect(sketch(build(2))).toEqual(['layerNorm', 'matmul'])
  })
})
