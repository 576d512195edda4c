// A small computation with a known answer: what an executor must get right before anyone believes that it works.
import { Graph } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, silu } from '../ops/pointwise.ts'
import { reshape } from '../ops/reshape.ts'
import { optimise } from '../passes/passes.ts'
import type { Executor, ParameterSource } from '../run/executor.ts'
import { referenceExecutor } from '../run/reference/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'

export type Proof =
  | { readonly ok: true; readonly largestError: number; readonly elapsedMs: number }
  | { readonly ok: false; readonly reason: string }

/** Of values around 1: f32 sums of a hundred terms, and f16 storage between a dozen nodes. */
const tolerance: Readonly<Record<StorageDType, number>> = { f32: 1e-4, f16: 3e-2 }

const shape = { height: 7, width: 5, channels: 12 }

/** Convolution, norm, activation, attention and product: a UNet's block in small. */
function blockInSmall(): Graph {
  const { height, width, channels } = shape
  const graph = new Graph('doctor')
  const g = graph.scope()
  const x = graph.input('x', [1, height, width, channels])
  let h = conv2d(g.scope('conv'), x, channels, { kernel: 3, padding: 1 })
  h = silu(groupNorm(g.scope('norm'), h, { groups: 4, epsilon: 1e-5 }))
  h = reshape(add(h, x), [1, height * width, channels])
  const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(g.scope(name), h, channels))
  graph.output('out', add(h, linear(g.scope('out'), attention(g, q!, k!, v!, { heads: 3 }), channels)))
  return graph
}

/** Numbers without any pattern that a wrong kernel could get right by chance. */
function numbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233))
}

function parameters(graph: Graph): ParameterSource {
  const entries = [...graph.params.values()].map((param, i) => {
    const count = param.shape.reduce((product, size) => product * size, 1)
    const fanIn = param.shape.length > 1 ? count / param.shape[0]! : 4
    return [param.name, { shape: param.shape, values: numbers(count, i).map((v) => v / Math.sqrt(fanIn)) }] as const
  })
  const tensors = new Map(entries)
  return {
    label: 'doctor',
    tensors: new Map(entries.map(([name, { shape: of }]) => [name, { dtype: 'F32', shape: of }])),
    read: async (name) => new Uint8Array(tensors.get(name)!.values.buffer),
    locate: () => undefined,
  }
}

async function answer(executor: Executor, dtype: StorageDType): Promise<Float32Array> {
  const graph = blockInSmall()
  const session = await executor.load(optimise(graph), parameters(graph), { dtype })
  try {
    const x = numbers(shape.height * shape.width * shape.channels, 99)
    return (await session.run({ x })).out!
  } finally {
    session.dispose()
  }
}

/** Computes on `executor` and compares with the f64 reference. Never raises: what went wrong is the answer. */
export async function prove(executor: Executor, dtype: StorageDType): Promise<Proof> {
  try {
    const want = await answer(referenceExecutor(), 'f32')
    const start = performance.now()
    const got = await answer(executor, dtype)
    const elapsedMs = performance.now() - start
    const largestError = got.reduce((worst, value, i) => Math.max(worst, Math.abs(value - want[i]!)), 0)
    if (got.length === want.length && largestError <= tolerance[dtype]) return { ok: true, largestError, elapsedMs }
    return { ok: false, reason: `results are off by ${largestError}, at most ${tolerance[dtype]} is right` }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) }
  }
}
