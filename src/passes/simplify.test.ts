// Folding, sharing and dropping nodes, and what the checker refuses.
import { describe, expect, it } from 'vitest'
import { checkGraph } from '../graph/check.ts'
import { binary, constant, input, siluExpr } from '../graph/expr.ts'
import { Graph, type Value } from '../graph/graph.ts'
import { linear } from '../ops/matmul.ts'
import { add, pointwiseOp, scaleBy, silu } from '../ops/pointwise.ts'
import { shareCommonSubexpressions } from './cse.ts'
import { removeDeadCode } from './dead-code.ts'
import { exprKey } from './expr-key.ts'
import { foldConstants } from './fold-constants.ts'
import { optimise } from './passes.ts'

describe('foldConstants', () => {
  it('computes what needs no input, and only that', () => {
    const graph = new Graph('test')
    const table = graph.constant('table', [3], Float32Array.of(1, 2, 4))
    const x = graph.input('x', [2, 3])
    graph.output('y', add(x, scaleBy(scaleBy(table, 0.5), 3)))
    const folded = removeDeadCode(foldConstants(graph))
    expect(folded.nodes.map((node) => node.op.name)).toEqual(['pointwise'])
    const [, factor] = folded.nodes[0]!.inputs
    expect([...factor!.data!]).toEqual([1.5, 3, 6])
    checkGraph(folded, 'foldConstants')
  })

  it('numbers new constants apart from those that were there', () => {
    const graph = new Graph('test')
    const values = [1, 2].map((each) => graph.constant('c', [1], Float32Array.of(each)))
    graph.output('a', scaleBy(values[1]!, 2))
    graph.output('b', add(graph.input('x', [1]), values[0]!))
    expect(() => checkGraph(foldConstants(foldConstants(graph)), 'foldConstants')).not.toThrow()
  })
})

describe('shareCommonSubexpressions', () => {
  it('computes the SiLU of the time embedding once', () => {
    const graph = new Graph('test')
    const temb = graph.input('temb', [1, 8])
    for (const name of ['a', 'b', 'c']) graph.output(name, linear(graph.scope(name), silu(temb), 4))
    const shared = shareCommonSubexpressions(graph)
    expect(shared.nodes.map((node) => node.op.name)).toEqual(['pointwise', 'matmul', 'matmul', 'matmul'])
  })

  it('tells different functions, operands and weights apart', () => {
    const graph = new Graph('test')
    const [x, y] = [graph.input('x', [1, 8]), graph.input('y', [1, 8])]
    const values = [
      silu(x),
      silu(y),
      scaleBy(x, 2),
      scaleBy(x, 2.0000001),
      linear(graph.scope('a'), x, 8),
      linear(graph.scope('b'), x, 8),
    ]
    for (const [i, value] of values.entries()) graph.output(`out${i}`, value)
    expect(shareCommonSubexpressions(graph).nodes).toHaveLength(values.length)
  })

  it('lets two outputs be one value', () => {
    const graph = new Graph('test')
    const x = graph.input('x', [4])
    graph.output('a', silu(x))
    graph.output('b', silu(x))
    const shared = optimise(graph)
    expect(shared.nodes).toHaveLength(1)
    expect(shared.outputs.get('a')).toBe(shared.outputs.get('b'))
  })
})

describe('removeDeadCode', () => {
  it('drops unread nodes with their weights and keeps every input', () => {
    const graph = new Graph('test')
    const x = graph.input('x', [1, 4])
    graph.input('unused', [1])
    linear(graph.scope('dead'), silu(x), 4)
    graph.output('y', linear(graph.scope('live'), x, 4))
    const left = removeDeadCode(graph)
    expect(left.nodes.map((node) => node.scope)).toEqual(['live'])
    expect([...left.params.keys()]).toEqual(['live.weight', 'live.bias'])
    expect([...left.inputs.keys()]).toEqual(['x', 'unused'])
  })
})

describe('exprKey', () => {
  it('depends on what is computed, not on which objects are shared', () => {
    const x = input(0)
    expect(exprKey(siluExpr(x))).toBe(exprKey(siluExpr(input(0))))
    expect(exprKey(binary('mul', input(0), siluExpr(input(0))))).toBe(exprKey(binary('mul', x, siluExpr(x))))
    const different = [
      binary('sub', input(0), input(1)),
      binary('sub', input(1), input(0)),
      binary('add', input(0), input(1)),
      binary('add', input(0), constant(1)),
      binary('add', input(0), constant(-0)),
      binary('add', input(0), constant(0)),
    ]
    expect(new Set(different.map(exprKey)).size).toBe(different.length)
  })

  it('stays short for a tree whose parts are shared many times', () => {
    let expr = siluExpr(input(0))
    for (let i = 0; i < 60; i++) expr = binary('add', expr, expr)
    expect(exprKey(expr).length).toBeLessThan(1000)
  })
})

describe('checkGraph', () => {
  const refusal = (spoil: (graph: Graph, x: Value) => void): string => {
    const graph = new Graph('test')
    const x = graph.input('x', [2, 4])
    graph.output('y', silu(x))
    checkGraph(graph, 'building')
    spoil(graph, x)
    try {
      checkGraph(graph, 'a pass')
    } catch (error) {
      return (error as Error).message
    }
    return 'accepted'
  }

  it.each<[string, (graph: Graph, x: Value) => void, string]>([
    ['order', (graph) => graph.nodes.push(graph.nodes.shift()!), 'accepted'],
    [
      'use before definition',
      (graph) => {
        silu(graph.outputs.get('y')!)
        graph.nodes.reverse()
      },
      'graph test after a pass: pointwise#1 uses pointwise before it is defined',
    ],
    [
      'shape',
      (graph) => Object.assign(graph.outputs.get('y')!, { shape: [4, 2] }),
      'graph test after a pass: pointwise is float [4,2], its op infers float [2,4]',
    ],
    ['names', (_graph, x) => Object.assign(silu(x), { name: 'x' }), 'graph test after a pass: x names two values'],
    [
      'epilogue shape',
      (graph, x) => {
        const other = graph.input('other', [3, 4])
        graph.add(pointwiseOp, [x], { expr: input(0) }, 'm', { expr: input(1), inputs: [other] })
      },
      'graph test after a pass: m/pointwise [2,4] has an epilogue over other [3,4]',
    ],
    [
      'epilogue input',
      (graph, x) => void graph.add(pointwiseOp, [x], { expr: input(0) }, 'm', { expr: input(1), inputs: [] }),
      'graph test after a pass: m/pointwise has an epilogue that reads input 1 of 0',
    ],
    [
      'another graph',
      (graph) => graph.output('z', new Graph('other').input('elsewhere', [1])),
      'graph test after a pass: output z uses elsewhere of another graph',
    ],
  ])('looks at %s', (_, spoil, message) => {
    expect(refusal(spoil)).toBe(message)
  })
})
