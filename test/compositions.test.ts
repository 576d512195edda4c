// Small graphs of several nodes on WebGPU against the f64 reference: views, strides, concatenation and results written over
// their inputs. All values are small whole numbers, which every storage holds and the first nodes' products keep exact, so that
// only the last node rounds.
import { afterAll, describe, expect, it } from 'vitest'
import { binary, constant, input } from '../src/graph/expr.ts'
import { Graph, type Value } from '../src/graph/graph.ts'
import { attention } from '../src/ops/attention.ts'
import { concat } from '../src/ops/concat.ts'
import { conv2d } from '../src/ops/conv2d.ts'
import { groupNorm } from '../src/ops/group-norm.ts'
import { linear, matmul, matmulOp } from '../src/ops/matmul.ts'
import { add, mul, pointwise, silu } from '../src/ops/pointwise.ts'
import { reshape } from '../src/ops/reshape.ts'
import { slice } from '../src/ops/slice.ts'
import { upsampleNearest } from '../src/ops/upsample.ts'
import { optimise } from '../src/passes/passes.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { epsilons, sourceOf, worst } from './cases/case.ts'
import { representable, runPlanned, webgpuDevices } from './run-planned.ts'

interface Composition {
  readonly name: string
  build(graph: Graph): Readonly<Record<string, Value>>
  /** Steps of the plan, where views must have vanished. */
  readonly steps?: number
  /** Bytes of the arena in f32, where results must have taken their inputs' memory. */
  readonly arenaBytes?: number
}

const image = [2, 5, 3, 12] as const
const relu = (x: Value) => pointwise(binary('max', input(0), constant(0)), [x])
/** Rounded up to the arena's alignment. */
const bytes = (...shape: readonly number[]) => Math.ceil(shape.reduce((a, b) => a * b, 4) / 256) * 256

const compositions: readonly Composition[] = [
  {
    name: 'halves of a wide product, one gating the other',
    steps: 3,
    build(graph) {
      const wide = linear(graph.scope('proj'), graph.input('x', [1, 7, 8]), 24)
      return { out: mul(slice(wide, 0, 12), relu(slice(wide, 12, 24))) }
    },
  },
  {
    name: 'a slice that begins inside a group, then a product',
    build(graph) {
      const x = graph.input('x', [1, 9, 11])
      return { out: linear(graph.scope('proj'), slice(x, 3, 10), 6) }
    },
  },
  {
    name: 'a slice of an input as the operand of a product',
    steps: 1,
    build(graph) {
      const x = graph.input('x', [1, 9, 16])
      return { out: linear(graph.scope('proj'), slice(x, 8, 12), 5) }
    },
  },
  {
    name: 'image to tokens and back around a product, with a residual',
    build(graph) {
      const x = graph.input('x', image)
      const tokens = linear(graph.scope('proj'), reshape(x, [2, 15, 12]), 12)
      return { out: add(reshape(tokens, image), x) }
    },
  },
  {
    name: 'a residual that dies: the product is written over it',
    steps: 2,
    arenaBytes: bytes(1, 6, 8),
    build(graph) {
      const x = graph.input('x', [1, 6, 8])
      const sum = add(x, x)
      const a = graph.param('a.weight', [8, 8])
      const epilogue = { expr: binary('add', input(0), input(1)), inputs: [sum] }
      return { out: graph.add(matmulOp, [x, a], productAttrs, 'a', epilogue) }
    },
  },
  {
    name: 'a residual that lives on: nothing is written over it',
    build(graph) {
      const x = graph.input('x', [1, 6, 8])
      const sum = add(x, x)
      const a = graph.param('a.weight', [8, 8])
      const epilogue = { expr: binary('add', input(0), input(1)), inputs: [sum] }
      const product = graph.add(matmulOp, [x, a], productAttrs, 'a', epilogue)
      return { out: mul(product, sum), sum }
    },
  },
  {
    name: 'a residual that the product reads as well: nothing is written over it',
    build(graph) {
      const x = graph.input('x', [1, 6, 64])
      const sum = add(x, x)
      const a = graph.param('a.weight', [64, 64])
      const epilogue = { expr: binary('add', input(0), input(1)), inputs: [sum] }
      return { out: graph.add(matmulOp, [sum, a], productAttrs, 'a', epilogue) }
    },
  },
  {
    name: 'pointwise nodes after each other, one intermediate an output',
    build(graph) {
      const x = graph.input('x', [2, 3, 10])
      const a = add(x, x)
      const b = mul(a, x)
      return { b, out: add(silu(b), a) }
    },
  },
  {
    name: 'two convolutions side by side, then a third over both',
    build(graph) {
      const x = graph.input('x', image)
      const a = conv2d(graph.scope('a'), x, 8, { kernel: 1 })
      const b = conv2d(graph.scope('b'), x, 6, { kernel: 3, padding: 1 })
      return { out: conv2d(graph.scope('c'), concat([a, b]), 4, { kernel: 1 }) }
    },
  },
  {
    name: 'a concatenation with tails, normalised',
    build(graph) {
      const x = graph.input('x', image)
      const y = graph.input('y', [2, 5, 3, 3])
      return { out: groupNorm(graph.scope('norm'), concat([x, y]), { groups: 3, epsilon: 1e-5 }) }
    },
  },
  {
    name: 'a skip connection: enlarged, joined, and the skip used again',
    build(graph) {
      const skip = add(graph.input('x', [1, 6, 4, 8]), graph.input('y', [1, 6, 4, 8]))
      const small = conv2d(graph.scope('down'), skip, 8, { kernel: 3, stride: 2, padding: 1 })
      const joined = concat([upsampleNearest(small, 6, 4), skip])
      return { out: silu(joined), skip }
    },
  },
  {
    name: 'enlarged and convolved, with a residual, and the small image used again',
    build(graph) {
      const small = conv2d(graph.scope('small'), graph.input('x', [2, 3, 5, 6]), 6, { kernel: 1 })
      const h = conv2d(graph.scope('conv'), upsampleNearest(small, 6, 10), 8, { kernel: 3, padding: 1 })
      return { out: add(h, graph.input('y', [2, 6, 10, 8])), small }
    },
  },
  {
    name: 'queries, keys and values as slices of one product',
    build(graph) {
      const x = graph.input('x', [1, 5, 4])
      const qkv = linear(graph.scope('qkv'), x, 24, { bias: false })
      const [q, k, v] = [slice(qkv, 0, 8), slice(qkv, 8, 16), slice(qkv, 16, 24)]
      return { out: attention(graph.scope('attn'), q, k, v, { heads: 2 }) }
    },
  },
  {
    name: 'a product of two computed matrices',
    build(graph) {
      const x = graph.input('x', [2, 5, 6])
      const y = graph.input('y', [2, 6, 7])
      return { out: matmul(add(x, x), add(y, y)) }
    },
  },
  {
    name: 'outputs that are views: a slice and a reshape of one result',
    steps: 1,
    build(graph) {
      const sum = add(graph.input('x', [2, 6, 12]), graph.input('y', [2, 6, 12]))
      return { tail: slice(sum, 4, 12), out: reshape(sum, [12, 12]) }
    },
  },
  {
    name: 'one input twice, broadcast and whole',
    build(graph) {
      const x = graph.input('x', [1, 1, 1, 12])
      return { out: pointwise(binary('mul', input(0), input(1)), [add(graph.input('y', image), x), x]) }
    },
  },
]

const productAttrs = { transposeA: false, transposeB: true }

/** Whole numbers −2 … 2 that belong to a name. */
function wholeNumbers({ name, shape }: Value): Float32Array {
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5)
  const count = shape.reduce((a, b) => a * b, 1)
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return ((state >>> 16) % 5) - 2
  })
}

/** Of all kernels the widest tolerance: products accumulate in any order. */
const tolerance = { f32: 32, f16: 2 } as const

describe.each(await webgpuDevices())('$name', ({ device }) => {
  afterAll(() => device.destroy())

  it.each(compositions)('$name', async ({ build, steps, arenaBytes }) => {
    const graph = new Graph('composition')
    for (const [name, value] of Object.entries(build(graph))) graph.output(name, value)
    const inputs = Object.fromEntries([...graph.inputs].map(([name, value]) => [name, wholeNumbers(value)]))
    const params = new Map([...graph.params].map(([name, value]) => [name, wholeNumbers(value)]))
    const want = evaluate(graph, inputs, params)
    const failures: string[] = []
    for (const dtype of ['f32', 'f16'] as const)
      for (const form of [graph, optimise(graph)]) {
        const run = await runPlanned(device, form, sourceOf(params, form), inputs, { dtype })
        const label = `${dtype}${form === graph ? '' : ', optimised'}: ${run.kernels}`
        for (const [name, reference] of want) {
          const { units, text } = worst(run.outputs[name]!, representable(reference, dtype), epsilons[dtype])
          if (!(units <= tolerance[dtype])) failures.push(`${label}; ${name}: ${text}, ${units} units`)
        }
        if (form !== graph) continue
        if (steps !== undefined) expect(run.plan.steps.length, label).toBe(steps)
        if (arenaBytes !== undefined && dtype === 'f32') expect(run.plan.arenaBytes, label).toBe(arenaBytes)
      }
    expect(failures).toEqual([])
  })
})
