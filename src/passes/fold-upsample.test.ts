// Which enlargements go into the convolution behind them, and which stay.
import { describe, expect, it } from 'vitest'
import { Graph, type Value } from '../graph/graph.ts'
import { conv2d } from '../ops/conv2d.ts'
import { silu } from '../ops/pointwise.ts'
import { upsampleNearest } from '../ops/upsample.ts'
import { foldUpsample } from './fold-upsample.ts'
import { optimise } from './passes.ts'

const convolve = (graph: Graph, x: Value, kernel = 3) =>
  conv2d(graph.scope(`conv${kernel}`), x, 6, { kernel, padding: (kernel - 1) / 2 })

/** Nodes of the optimised graph, in words: what a convolution makes of its input's size is told as well. */
function sketch(build: (graph: Graph, x: Value) => Readonly<Record<string, Value>>): string[] {
  const graph = new Graph('test')
  for (const [name, value] of Object.entries(build(graph, graph.input('x', [1, 3, 5, 8])))) graph.output(name, value)
  return optimise(graph).nodes.map(({ op, attrs, inputs, output, epilogue }) => {
    const doubled = 'upsample' in (attrs as object) ? ` of ${inputs[0]!.shape} doubled to ${output.shape}` : ''
    return `${op.name}${doubled}${epilogue ? ' + epilogue' : ''}`
  })
}

describe('foldUpsample', () => {
  it('doubles within the convolution, which keeps what comes behind it', () => {
    expect(sketch((g, x) => ({ y: silu(convolve(g, upsampleNearest(x, 6, 10))) }))).toEqual([
      'conv2d of 1,3,5,8 doubled to 1,6,10,6 + epilogue',
    ])
  })

  it('doubles for the second of two enlargements in a row', () => {
    expect(sketch((g, x) => ({ y: convolve(g, upsampleNearest(upsampleNearest(x, 6, 10), 12, 20)) }))).toEqual([
      'upsample',
      'conv2d of 1,6,10,8 doubled to 1,12,20,6',
    ])
  })

  it('leaves what is read elsewhere, returned, or changed on the way', () => {
    const twice = sketch((g, x) => {
      const large = upsampleNearest(x, 6, 10)
      return { y: convolve(g, large), z: convolve(g, large, 5) }
    })
    expect(twice).toEqual(['upsample', 'conv2d', 'conv2d'])
    const returned = sketch((g, x) => {
      const large = upsampleNearest(x, 6, 10)
      return { y: convolve(g, large), large }
    })
    expect(returned).toEqual(['upsample', 'conv2d'])
    expect(sketch((g, x) => ({ y: convolve(g, silu(upsampleNearest(x, 6, 10))) }))).toEqual([
      'upsample + epilogue',
      'conv2d',
    ])
  })

  it('leaves what is no doubling, and kernels of one pixel', () => {
    expect(sketch((g, x) => ({ y: convolve(g, upsampleNearest(x, 6, 9)) }))).toEqual(['upsample', 'conv2d'])
    expect(sketch((g, x) => ({ y: convolve(g, upsampleNearest(x, 9, 15)) }))).toEqual(['upsample', 'conv2d'])
    expect(sketch((g, x) => ({ y: convolve(g, upsampleNearest(x, 6, 10), 1) }))).toEqual(['upsample', 'conv2d'])
  })

  it('leaves the graph it is given as it was', () => {
    const graph = new Graph('test')
    graph.output('y', convolve(graph, upsampleNearest(graph.input('x', [1, 3, 5, 8]), 6, 10)))
    const names = () => graph.nodes.map(({ op }) => op.name)
    expect(foldUpsample(graph)).not.toBe(graph)
    expect(names()).toEqual(['upsample', 'conv2d'])
  })
})
