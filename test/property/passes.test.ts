// Passes keep meaning: random graphs give the same results before and after, in f64.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BinaryFn, binary, type Expr, input, type UnaryFn, unary } from '../../src/graph/expr.ts'
import { Graph, type Scope, type Value } from '../../src/graph/graph.ts'
import type { RefTensor } from '../../src/graph/op.ts'
import { attention } from '../../src/ops/attention.ts'
import { conv2d } from '../../src/ops/conv2d.ts'
import { compileExpr } from '../../src/ops/expr-reference.ts'
import { groupNorm } from '../../src/ops/group-norm.ts'
import { layerNorm } from '../../src/ops/layer-norm.ts'
import { linear } from '../../src/ops/matmul.ts'
import { add, gelu, mul, pointwise, silu } from '../../src/ops/pointwise.ts'
import { reshape } from '../../src/ops/reshape.ts'
import { broadcastIndex, elementCount } from '../../src/ops/shapes.ts'
import { slice } from '../../src/ops/slice.ts'
import { upsampleNearest } from '../../src/ops/upsample.ts'
import { groupNormOnLoad } from '../../src/passes/group-norm-on-load.ts'
import { normaliseOnLoad } from '../../src/passes/normalise-on-load.ts'
import { optimise } from '../../src/passes/passes.ts'

/** Values that belong to a name: the same for an input or parameter of both graphs. */
function valuesFor({ name, shape, data }: Value): Float64Array {
  if (data) return Float64Array.from(data)
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5)
  return Float64Array.from({ length: elementCount(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 30 // −2 … 2
  })
}

/** The graph's outputs by the ops' references, epilogues included. */
function evaluate(graph: Graph, original = graph): Map<string, RefTensor> {
  const known = new Map<Value, RefTensor>()
  const stacked = (parts: readonly string[]) =>
    Float64Array.from(parts.flatMap((name) => [...valuesFor(original.params.get(name)!)]))
  const tensor = (value: Value): RefTensor => {
    const data = () => (value.parts ? stacked(value.parts) : valuesFor(value))
    const made = known.get(value) ?? { shape: value.shape, data: data() }
    known.set(value, made)
    return made
  }
  for (const { op, inputs, attrs, output, epilogue } of graph.nodes) {
    const { data } = op.reference(inputs.map(tensor), attrs as never, output)
    if (epilogue) {
      const apply = compileExpr(epilogue.expr)
      const others = epilogue.inputs
        .map(tensor)
        .map((each) => ({ ...each, at: broadcastIndex(each.shape, output.shape) }))
      for (let i = 0; i < data.length; i++)
        data[i] = apply([data[i]!, ...others.map((each) => each.data[each.at[i]!]!)].map(exact)).value
    }
    known.set(output, { shape: output.shape, data })
  }
  return new Map([...graph.outputs].map(([name, value]) => [name, tensor(value)]))
}

const exact = (value: number) => ({ value, error: 0 })

/** Largest difference between the two graphs' outputs, relative to the values. */
function difference(before: Graph, after: Graph): number {
  const [want, got] = [evaluate(before), evaluate(after, before)]
  expect([...got.keys()]).toEqual([...want.keys()])
  let worst = 0
  for (const [name, { shape, data }] of want) {
    expect(got.get(name)!.shape).toEqual(shape)
    data.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(got.get(name)!.data[i]! - value) / (1 + Math.abs(value)))
    })
  }
  return worst
}

const unaries = ['neg', 'tanh', 'erf', 'sigmoid'] as const satisfies readonly UnaryFn[]
const binaries = ['add', 'sub', 'mul', 'min', 'max'] as const satisfies readonly BinaryFn[]

/** A step of a recipe; operands are picked from what exists by then. */
const step = fc.record({
  fn: fc.constantFrom(...unaries, ...binaries),
  a: fc.nat(),
  b: fc.nat(),
  output: fc.boolean(),
})

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function pointwiseGraph(steps: readonly Step[]): Graph {
  const graph = new Graph('random')
  const values = [
    graph.input('x', [2, 3, 4]),
    graph.input('row', [1, 1, 4]),
    graph.param('vector', [4]),
    graph.constant('c', [1, 3, 1], Float32Array.of(0.5, -1, 2)),
    graph.constant('d', [4], Float32Array.of(1, 0.25, -0.5, 3)),
  ]
  steps.forEach(({ fn, a, b, output }, i) => {
    const [x, y] = [values[a % values.length]!, values[b % values.length]!]
    const isUnary = (unaries as readonly string[]).includes(fn)
    const expr: Expr = isUnary ? unary(fn as UnaryFn, input(0)) : binary(fn as BinaryFn, input(0), input(1))
    const value = pointwise(expr, isUnary ? [x] : [x, y])
    values.push(value)
    if (output || i === steps.length - 1) graph.output(`out${i}`, value)
  })
  return graph
}

const modules = {
  conv: (g: Scope, x: Value) => conv2d(g, x, 4, { kernel: 3, padding: 1 }),
  enlarged: (g: Scope, x: Value) => conv2d(g, upsampleNearest(x, 6, 6), 4, { kernel: 3, stride: 2, padding: 1 }),
  narrow: (g: Scope, x: Value) => conv2d(g, x, 4, { kernel: 1, bias: false }),
  linear: (g: Scope, x: Value) => reshape(linear(g, reshape(x, [1, 9, 4]), 4), x.shape),
  norm: (g: Scope, x: Value) => groupNorm(g, x, { groups: 2, epsilon: 1e-5 }),
  layerNorm: (g: Scope, x: Value) => reshape(layerNorm(g, reshape(x, [1, 9, 4]), { epsilon: 1e-5 }), x.shape),
  normedGeglu: (g: Scope, x: Value) => {
    const both = linear(g, layerNorm(g.scope('norm'), reshape(x, [1, 9, 4]), { epsilon: 1e-5 }), 8)
    return reshape(mul(slice(both, 0, 4), gelu(slice(both, 4, 8))), x.shape)
  },
  attend: (g: Scope, x: Value) => {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(g.scope(name), reshape(x, [1, 9, 4]), 8))
    return reshape(linear(g, attention(g, q!, k!, v!, { heads: 2 }), 4), x.shape)
  },
  silu: (_g: Scope, x: Value) => silu(x),
  add: (_g: Scope, x: Value, y: Value) => add(x, y),
  subtract: (_g: Scope, x: Value, y: Value) => pointwise(binary('sub', input(1), input(0)), [x, y]),
  shift: (g: Scope, x: Value) => add(x, reshape(linear(g, g.graph.inputs.get('temb')!, 4), [1, 1, 1, 4])),
  geglu: (g: Scope, x: Value) => {
    const both = linear(g, reshape(x, [1, 9, 4]), 8)
    return reshape(mul(slice(both, 0, 4), gelu(slice(both, 4, 8))), x.shape)
  },
  gateFirst: (g: Scope, x: Value) => {
    const both = linear(g, reshape(x, [1, 9, 4]), 8)
    return reshape(mul(gelu(slice(both, 0, 4)), slice(both, 4, 8)), x.shape)
  },
} as const

const moduleNames = Object.keys(modules) as (keyof typeof modules)[]

const moduleStep = fc.record({
  // Twice as often those that fuse.
  module: fc.constantFrom(...moduleNames, 'conv', 'norm', 'silu', 'add', 'shift', 'subtract'),
  a: fc.constantFrom(0, 0, 0, 0, 0, 1, 2), // how far back the operands lie: mostly chains, sometimes branches
  b: fc.nat(5),
  output: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
})

type ModuleStep = typeof moduleStep extends fc.Arbitrary<infer T> ? T : never

function moduleGraph(steps: readonly ModuleStep[]): Graph {
  const graph = new Graph('random')
  const values = [graph.input('x', [1, 3, 3, 4])]
  graph.input('temb', [1, 4])
  steps.forEach(({ module, a, b, output }, i) => {
    const back = (n: number) => values[Math.max(0, values.length - 1 - n)]!
    const value = modules[module](graph.scope(`m${i}`), back(a), back(b))
    values.push(value)
    if (output || i === steps.length - 1) graph.output(`out${i}`, value)
  })
  return graph
}

describe('optimise', () => {
  it('keeps what random pointwise graphs compute', () => {
    let [nodes, left] = [0, 0]
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 14 }), fc.boolean(), (steps, fuse) => {
        const graph = pointwiseGraph(steps)
        const better = optimise(graph, { fuse })
        // Constants are folded to f32.
        expect(difference(graph, better)).toBeLessThan(1e-5)
        nodes += graph.nodes.length
        left += better.nodes.length
      }),
      { seed: 7, numRuns: 300 },
    )
    expect(left).toBeLessThan(0.7 * nodes)
  })

  it('keeps what random modules with residuals compute', () => {
    let [fused, gated, merged, normalised] = [0, 0, 0, 0]
    fc.assert(
      fc.property(fc.array(moduleStep, { minLength: 6, maxLength: 16, size: 'max' }), (steps) => {
        const graph = moduleGraph(steps)
        const better = optimise(graph)
        expect(difference(graph, better)).toBeLessThan(1e-12)
        const onLoad = groupNormOnLoad(normaliseOnLoad(better, 1), 1)
        expect(difference(graph, onLoad)).toBeLessThan(1e-12)
        normalised += onLoad.nodes.filter(({ attrs }) => 'normalised' in (attrs as object)).length
        fused += better.nodes.filter((node) => node.epilogue).length
        gated += better.nodes.filter(({ attrs }) => 'gate' in (attrs as object)).length
        merged += better.nodes.filter(({ inputs }) => inputs[1]?.parts).length
      }),
      { seed: 11, numRuns: 240 },
    )
    expect(fused).toBeGreaterThan(100)
    expect(gated).toBeGreaterThan(20)
    expect(merged).toBeGreaterThan(20)
    expect(normalised).toBeGreaterThan(20)
  })

  it('leaves the graph it is given as it was', () => {
    const graph = moduleGraph([
      { module: 'conv', a: 0, b: 0, output: false },
      { module: 'silu', a: 0, b: 0, output: false },
      { module: 'add', a: 0, b: 2, output: true },
    ])
    const describeNodes = () =>
      graph.nodes.map(({ op, output, inputs, epilogue }) => [op.name, output.name, inputs.map((v) => v.name), epilogue])
    const before = structuredClone(describeNodes())
    optimise(graph)
    expect(describeNodes()).toEqual(before)
  })
})
