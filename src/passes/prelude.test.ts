// Where a graph is cut, and what each part takes and gives.
import { describe, expect, it } from 'vitest'
import { Graph } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import { linear } from '../ops/matmul.ts'
import { add, silu } from '../ops/pointwise.ts'
import { slice } from '../ops/slice.ts'
import { optimiseInParts } from './passes.ts'
import { splitPrelude } from './prelude.ts'

function model(): Graph {
  const graph = new Graph('test')
  const x = graph.input('x', [1, 20, 16])
  const text = graph.input('text', [1, 77, 8])
  const pooled = graph.input('pooled', [1, 8])
  const both = linear(graph.scope('kv'), text, 32)
  const q = linear(graph.scope('q'), add(x, linear(graph.scope('pooled'), silu(pooled), 16)), 16)
  graph.output('y', attention(graph.scope('attn'), q, slice(both, 0, 16), slice(both, 16, 32), { heads: 2 }))
  return graph
}

const described = (graph: Graph) => ({
  inputs: [...graph.inputs.values()].map(({ name, shape }) => `${name} [${shape}]`),
  params: [...graph.params.keys()],
  ops: graph.nodes.map(({ op, scope }) => `${scope} ${op.name}`),
  outputs: [...graph.outputs].map(([name, { shape }]) => `${name} [${shape}]`),
})

describe('splitPrelude', () => {
  it('moves what depends on held inputs alone, and leaves the views of it', () => {
    const { graph, prelude } = splitPrelude(model(), ['text', 'pooled', 'no such input'])
    expect(described(prelude!)).toEqual({
      inputs: ['text [1,77,8]', 'pooled [1,8]'],
      params: ['kv.weight', 'kv.bias', 'pooled.weight', 'pooled.bias'],
      ops: ['kv matmul', ' pointwise', 'pooled matmul'],
      outputs: ['kept pooled/matmul [1,16]', 'kept kv/matmul [1,77,32]'],
    })
    expect(described(graph)).toEqual({
      inputs: ['x [1,20,16]', 'kept pooled/matmul [1,16]', 'kept kv/matmul [1,77,32]'],
      params: ['q.weight', 'q.bias'],
      ops: ['pooled pointwise', 'q matmul', 'kv slice', 'kv slice', 'attn attention'],
      outputs: ['y [1,20,16]'],
    })
  })

  it('leaves a held input to those that read it beside others', () => {
    const graph = new Graph('test')
    const [x, held] = [graph.input('x', [1, 4]), graph.input('held', [1, 4])]
    graph.output('y', add(add(x, held), silu(held)))
    graph.output('z', silu(held))
    const { graph: rest, prelude } = splitPrelude(graph, ['held'])
    expect([...rest.inputs.keys()]).toEqual(['x', 'held', 'kept pointwise#1', 'kept pointwise#3'])
    expect([...prelude!.outputs.keys()]).toEqual(['kept pointwise#1', 'kept pointwise#3'])
  })

  it('leaves a graph whole where nothing is held', () => {
    const graph = model()
    expect(splitPrelude(graph, [])).toEqual({ graph })
    expect(splitPrelude(graph, ['x']).prelude).toBeUndefined()
  })
})

describe('optimiseInParts', () => {
  it('optimises both parts and joins what may be kept', () => {
    const graph = new Graph('test')
    let x = graph.input('x', [1, 20, 16])
    const text = graph.input('text', [1, 77, 8])
    for (const name of ['a', 'b']) {
      const g = graph.scope(name)
      const [k, v] = [linear(g.scope('k'), text, 16), linear(g.scope('v'), text, 16)]
      x = add(x, linear(g.scope('out'), attention(g, x, k, v, { heads: 2 }), 16))
    }
    graph.output('y', x)
    const { graph: rest, prelude } = optimiseInParts(graph, ['text'])
    expect(described(prelude!).outputs).toEqual(['kept a.k+3/matmul [1,77,64]'])
    expect(prelude!.nodes).toHaveLength(1)
    expect(rest.nodes.filter(({ op }) => op.name === 'pointwise')).toEqual([])
    expect(optimiseInParts(graph, []).prelude).toBeUndefined()
  })
})
