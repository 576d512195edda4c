// Held inputs on every executor: a model in two parts, its sibling products joined, gives what the whole gives in f64.
import { afterAll, describe, expect, it } from 'vitest'
import { Graph, type Value } from '../src/graph/graph.ts'
import { attention } from '../src/ops/attention.ts'
import { conv2d } from '../src/ops/conv2d.ts'
import { linear } from '../src/ops/matmul.ts'
import { add, silu } from '../src/ops/pointwise.ts'
import { reshape } from '../src/ops/reshape.ts'
import { optimiseInParts } from '../src/passes/passes.ts'
import type { Executor, HostTensor } from '../src/run/executor.ts'
import { onnxExecutor } from '../src/run/onnx/executor.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { referenceExecutor } from '../src/run/reference/executor.ts'
import { webgpuExecutor } from '../src/run/webgpu/executor.ts'
import { sourceOf } from './cases/case.ts'
import { webgpuDevices } from './run-planned.ts'

/** Two cross-attentions to a text, a self-attention, shifts by time: what a UNet has of it. */
function model(): Graph {
  const graph = new Graph('test')
  const temb = silu(linear(graph.scope('time'), graph.input('timestep', [1, 8]), 24))
  const text = graph.input('text', [2, 7, 12])
  const kept = graph.input('kept', [1, 16])
  let x: Value = graph.input('x', [2, 3, 5, 16])
  for (const name of ['a', 'b']) {
    const g = graph.scope(name)
    const shift = reshape(linear(g.scope('shift'), temb, 16), [1, 1, 1, 16])
    x = add(conv2d(g.scope('conv'), x, 16, { kernel: 3, padding: 1 }), shift)
    const tokens = reshape(x, [2, 15, 16])
    for (const [module, context] of [
      ['self', tokens],
      ['cross', text],
    ] as const) {
      const m = g.scope(module)
      const q = linear(m.scope('to_q'), tokens, 16, { bias: false })
      const [k, v] = ['to_k', 'to_v'].map((each) => linear(m.scope(each), context, 16, { bias: false }))
      x = add(x, reshape(attention(m, q, k!, v!, { heads: 2 }), x.shape))
    }
    x = add(x, reshape(silu(kept), [1, 1, 1, 16]))
  }
  graph.output('y', x)
  return graph
}

const held = ['text', 'kept']

/** Values of about one, the same for the same name and round. */
function values(name: string, shape: readonly number[], round = 0): Float32Array {
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5 + round)
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 32
  })
}

const devices = await webgpuDevices()
const executors: readonly (readonly [string, Executor])[] = [
  ['reference', referenceExecutor()],
  ['onnx', await onnxExecutor()],
  ...devices.map(({ name, device }) => [name, webgpuExecutor(device)] as const),
]

describe.each(executors)('%s', (_, executor) => {
  afterAll(() => executor.dispose())

  it.each([true, false])('keeps what was made of held inputs until others are held (merged: %s)', async (merge) => {
    const graph = model()
    const params = new Map([...graph.params].map(([name, { shape }]) => [name, values(name, shape)]))
    const parts = optimiseInParts(graph, held, { merge })
    expect(parts.prelude!.nodes.filter(({ op }) => op.name === 'matmul')).toHaveLength(merge ? 1 : 4)
    const progress: number[] = []
    const session = await executor.load(parts.graph, sourceOf(params, graph), {
      dtype: 'f32',
      prelude: parts.prelude,
      onProgress: (done, total) => progress.push(done / total),
    })
    expect(progress.every((share, i) => share >= (progress[i - 1] ?? 0))).toBe(true)
    expect(progress.at(-1)).toBeCloseTo(1, 6)
    const whole = evaluateWith(graph, params)
    const holding: Record<string, HostTensor> = {}
    for (const [round, names] of [held, [], ['text'], []].entries()) {
      const given = (each: readonly string[]) =>
        Object.fromEntries(each.map((name) => [name, values(name, graph.inputs.get(name)!.shape, round)]))
      const fresh = given(['x', 'timestep'])
      if (names.length > 0) await session.hold(given(names))
      Object.assign(holding, given(names))
      const { y } = await session.run(fresh)
      const want = whole({ ...holding, ...fresh })
      // Each of eight layers in a row may err by its tolerance of 32 eps at most; another text is off by more than a tenth.
      const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
      const worst = want.reduce((most, value, i) => Math.max(most, Math.abs(value - y![i]!)), 0)
      expect(worst / largest, `round ${round}`).toBeLessThan(8 * 32 * 2 ** -23)
    }
    session.dispose()
  })
})

function evaluateWith(graph: Graph, params: ReadonlyMap<string, Float32Array>) {
  return (inputs: Readonly<Record<string, HostTensor>>) => evaluate(graph, inputs, params).get('y')!.data
}
