// What the fusing passes merge and, above all, what they must leave alone. That results stay the same is a property test's.
import { describe, expect, it } from 'vitest'
import { binary, geluExpr, input, siluExpr } from '../graph/expr.ts'
import { Graph, type Node, type Value } from '../graph/graph.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, gelu, mul, pointwise, silu } from '../ops/pointwise.ts'
import { slice } from '../ops/slice.ts'
import { removeDeadCode } from './dead-code.ts'
import { exprKey } from './expr-key.ts'
import { fuseEpilogue } from './fuse-epilogue.ts'
import { fusePointwise } from './fuse-pointwise.ts'
import { gateProducts } from './gate.ts'

const image = [1, 4, 4, 8]

/** Op names, with a plus for each epilogue and what it reads. */
function sketch(graph: Graph): string[] {
  return removeDeadCode(graph).nodes.map(({ op, epilogue }: Node) =>
    epilogue ? [op.name, ...epilogue.inputs.map((value) => value.name)].join(' + ') : op.name,
  )
}

function graphOf(build: (graph: Graph, x: Value) => Record<string, Value>): Graph {
  const graph = new Graph('test')
  for (const [name, value] of Object.entries(build(graph, graph.input('x', image)))) graph.output(name, value)
  return graph
}

const conv = (graph: Graph, name: string, x: Value) => conv2d(graph.scope(name), x, 8, { kernel: 3, padding: 1 })

describe('fuseEpilogue', () => {
  it('takes activation, time embedding and residual in their order', () => {
    const graph = graphOf((g, x) => {
      const temb = g.input('temb', [1, 1, 1, 8])
      return { y: add(x, silu(add(conv(g, 'conv', x), temb))) }
    })
    const fused = fuseEpilogue(graph)
    expect(sketch(fused)).toEqual(['conv2d + temb + x'])
    const { expr } = fused.outputs.get('y')!.node!.epilogue!
    expect(exprKey(expr)).toBe(exprKey(binary('add', input(2), siluExpr(binary('add', input(0), input(1))))))
  })

  it('gives a residual to the later of two producers', () => {
    const graph = graphOf((g, x) => ({
      y: add(conv(g, 'shortcut', x), groupNorm(g.scope('n'), x, { groups: 2, epsilon: 1e-5 })),
    }))
    expect(sketch(fuseEpilogue(graph))).toEqual(['conv2d', 'groupNorm + shortcut/conv2d'])
  })

  it('leaves a result that something else reads', () => {
    const twice = graphOf((g, x) => {
      const h = conv(g, 'conv', x)
      return { y: add(silu(h), conv(g, 'next', h)) }
    })
    expect(sketch(fuseEpilogue(twice))).toEqual(['conv2d', 'pointwise', 'conv2d + conv/pointwise'])
    const shown = graphOf((g, x) => {
      const h = conv(g, 'conv', x)
      return { h, y: silu(h) }
    })
    expect(sketch(fuseEpilogue(shown))).toEqual(['conv2d', 'pointwise'])
  })

  it('leaves a producer whose result is broadcast', () => {
    const graph = graphOf((g, x) => ({ y: add(x, linear(g.scope('l'), g.input('temb', [1, 1, 1, 8]), 8)) }))
    expect(sketch(fuseEpilogue(graph))).toEqual(['matmul', 'pointwise'])
  })

  it('reads at most three tensors beside the result', () => {
    const graph = graphOf((g, x) => {
      let h = conv(g, 'conv', x)
      for (let i = 0; i < 5; i++) h = add(h, g.input(`r${i}`, image))
      return { y: h }
    })
    expect(sketch(fuseEpilogue(graph))).toEqual(['conv2d + r0 + r1 + r2', 'pointwise', 'pointwise'])
  })
})

describe('fusePointwise', () => {
  it('merges a chain and reads each tensor once', () => {
    const graph = graphOf((g, x) => {
      const r = g.input('r', image)
      return { y: mul(silu(add(x, r)), r) }
    })
    const fused = removeDeadCode(fusePointwise(graph))
    expect(fused.nodes.map((node) => node.inputs.map((value) => value.name))).toEqual([['x', 'r']])
    const expected = binary('mul', siluExpr(binary('add', input(0), input(1))), input(1))
    expect(exprKey((fused.nodes[0]!.attrs as { expr: typeof expected }).expr)).toBe(exprKey(expected))
  })

  it('leaves what two nodes read, and what is smaller than the result', () => {
    const twice = graphOf((_g, x) => {
      const h = silu(x)
      return { y: gelu(h), z: mul(h, h) }
    })
    expect(sketch(fusePointwise(twice))).toEqual(['pointwise', 'pointwise', 'pointwise'])
    const small = graphOf((g, x) => ({ y: add(x, silu(g.input('temb', [1, 1, 1, 8]))) }))
    expect(sketch(fusePointwise(small))).toEqual(['pointwise', 'pointwise'])
  })

  it('stops at six inputs', () => {
    const graph = graphOf((g, x) => {
      let h = x
      for (let i = 0; i < 8; i++) h = add(h, g.input(`r${i}`, image))
      return { y: h }
    })
    expect(fusePointwise(graph).outputs.get('y')!.node!.inputs.length).toBeLessThanOrEqual(6)
    expect(sketch(fusePointwise(graph))).toEqual(['pointwise', 'pointwise'])
  })
})

describe('gateProducts', () => {
  /** A linear layer of 16 features, of which `combine` makes 8. */
  const feedForward = (combine: (both: Value) => Record<string, Value>) =>
    graphOf((g) => combine(linear(g.scope('proj'), g.input('tokens', [1, 5, 8]), 16)))

  it.each<[string, (both: Value) => Value]>([
    ['value first', (both) => mul(slice(both, 0, 8), gelu(slice(both, 8, 16)))],
    ['the product written the other way round', (both) => mul(gelu(slice(both, 8, 16)), slice(both, 0, 8))],
  ])('makes one product: %s', (_, combine) => {
    const gated = removeDeadCode(gateProducts(feedForward((both) => ({ y: combine(both) }))))
    expect(gated.nodes.map(({ op, attrs, scope }) => [op.name, attrs, scope])).toEqual([
      ['matmul', { transposeA: false, transposeB: true, gate: 'gelu' }, 'proj'],
    ])
    expect(gated.outputs.get('y')!.shape).toEqual([1, 5, 8])
  })

  it.each<[string, (both: Value) => Record<string, Value>]>([
    ['the gate is the first half', (both) => ({ y: mul(gelu(slice(both, 0, 8)), slice(both, 8, 16)) })],
    ['halves overlap', (both) => ({ y: mul(slice(both, 0, 8), gelu(slice(both, 4, 12))) })],
    ['another activation', (both) => ({ y: mul(slice(both, 0, 8), silu(slice(both, 8, 16))) })],
    ['a sum', (both) => ({ y: add(slice(both, 0, 8), gelu(slice(both, 8, 16))) })],
    ['the wide result is read elsewhere', (both) => ({ both, y: mul(slice(both, 0, 8), gelu(slice(both, 8, 16))) })],
    [
      'a half is read elsewhere',
      (both) => {
        const value = slice(both, 0, 8)
        return { value, y: mul(value, gelu(slice(both, 8, 16))) }
      },
    ],
  ])('leaves the product as it is when %s', (_, combine) => {
    const graph = feedForward(combine)
    expect(sketch(gateProducts(graph))).toEqual(sketch(graph))
  })

  it('knows GELU by what it computes, not by the object', () => {
    const graph = feedForward((both) => ({
      y: mul(slice(both, 0, 8), pointwise(geluExpr(input(0)), [slice(both, 8, 16)])),
    }))
    expect(sketch(gateProducts(graph))).toEqual(['matmul'])
  })
})
