// Which linear layers become one, and that nothing else changes.
import { describe, expect, it } from 'vitest'
import { checkGraph } from '../graph/check.ts'
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import { linear } from '../ops/matmul.ts'
import { add, gelu, silu } from '../ops/pointwise.ts'
import { reshape } from '../ops/reshape.ts'
import { removeDeadCode } from './dead-code.ts'
import { mergeSiblingProducts } from './merge-products.ts'

function merged(graph: Graph, held?: readonly string[]) {
  const result = removeDeadCode(mergeSiblingProducts(graph, held))
  checkGraph(result, 'mergeSiblingProducts')
  return result.nodes.filter(({ op }) => op.name === 'matmul').map(({ scope, output }) => `${scope} [${output.shape}]`)
}

function attend(g: Scope, x: Value, context: Value, widths = [16, 16, 16], bias = false): Value {
  const [q, k, v] = ['to_q', 'to_k', 'to_v'].map((name, i) =>
    linear(g.scope(name), i === 0 ? x : context, widths[i]!, { bias }),
  )
  return attention(g, q!, k!, v!, { heads: 2 })
}

describe('mergeSiblingProducts', () => {
  it('joins q, k and v of a self-attention, with their weights in order', () => {
    const graph = new Graph('test')
    const x = graph.input('x', [1, 20, 12])
    graph.output('y', attend(graph.scope('block.attn1'), x, x, undefined, true))
    expect(merged(graph)).toEqual(['block.attn1.to_q+to_k+to_v [1,20,48]'])
    const { params, nodes } = mergeSiblingProducts(graph)
    const names = ['to_q', 'to_k', 'to_v']
    expect([...params.values()].map(({ shape, parts }) => [shape, parts])).toEqual([
      [[48, 12], names.map((name) => `block.attn1.${name}.weight`)],
      [[48], names.map((name) => `block.attn1.${name}.bias`)],
    ])
    expect(nodes.filter(({ op }) => op.name === 'slice').map(({ attrs }) => attrs)).toEqual(
      [0, 16, 32].map((start) => ({ start, end: start + 16 })),
    )
  })

  it('joins keys and values of one cross-attention; of several only where they may be kept, or are short', () => {
    const build = (tokens: number) => {
      const graph = new Graph('test')
      let x = graph.input('x', [1, 20, 16])
      const text = graph.input('text', [1, tokens, 8])
      for (const name of ['a', 'b']) x = add(x, attend(graph.scope(name), x, text))
      graph.output('y', x)
      return graph
    }
    expect(merged(build(77))).toEqual([
      'a.to_q [1,20,16]',
      'a.to_k+to_v [1,77,32]',
      'b.to_q [1,20,16]',
      'b.to_k+to_v [1,77,32]',
    ])
    const all = ['a.to_q [1,20,16]', 'a.to_k+3 [1,77,64]', 'b.to_q [1,20,16]']
    expect(merged(build(77), ['text'])).toEqual(all)
    expect(merged(build(8))).toEqual(all.map((each) => each.replace('77', '8')))
  })

  it('joins projections that are broadcast, but none that a pointwise node would join', () => {
    const graph = new Graph('test')
    const temb = silu(graph.input('temb', [1, 8]))
    const x = graph.input('x', [1, 3, 3, 16])
    const shift = (name: string) => reshape(linear(graph.scope(name), temb, 16), [1, 1, 1, 16])
    graph.output('y', add(add(x, shift('a')), shift('b')))
    graph.output('z', gelu(linear(graph.scope('c'), temb, 16)))
    expect(merged(graph)).toEqual(['a+b [1,32]', 'c [1,16]'])
  })

  it('leaves alone what has another bias, an odd width, a shared weight or a weight too large', () => {
    const graph = new Graph('test')
    const x = graph.input('x', [1, 4, 8])
    graph.output('a', linear(graph.scope('a'), x, 16))
    graph.output('b', linear(graph.scope('b'), x, 16, { bias: false }))
    graph.output('c', linear(graph.scope('c'), x, 12))
    expect(merged(graph)).toHaveLength(3)

    const twice = new Graph('test')
    const [y, z] = [twice.input('y', [1, 4, 8]), twice.input('z', [1, 4, 8])]
    for (const [i, value] of [y, y, z].entries())
      twice.output(`${i}`, linear(twice.scope(i < 1 ? 'a' : 'b'), value, 16))
    expect(merged(twice)).toHaveLength(3)

    const wide = new Graph('test')
    const w = wide.input('w', [1, 4096])
    for (const name of ['a', 'b', 'c', 'd', 'e']) wide.output(name, linear(wide.scope(name), w, 4096))
    expect(merged(wide)).toEqual(['a+b [1,8192]', 'c+d [1,8192]', 'e [1,4096]'])
  })
})
