// An op case: a node with its shapes and attributes as data, and how to make a graph and seeded inputs of it.
import type { Expr } from '../../src/graph/expr.ts'
import { Graph, type Value } from '../../src/graph/graph.ts'
import type { OpDef, RefResult } from '../../src/graph/op.ts'
import { type OpName, ops } from '../../src/ops/ops.ts'
import { elementCount } from '../../src/ops/shapes.ts'
import type { HostTensor, ParameterSource } from '../../src/run/executor.ts'
import { fromF16Bits, toF16Bits } from '../../src/tensor/dtype.ts'

export interface CaseInput {
  readonly shape: readonly number[]
  /** A weight: the graph gets it as a parameter. */
  readonly param?: true
  /** Integers 0 … below−1 instead of floats. */
  readonly below?: number
  /** Of the normal distribution that the values come from; 0 and 1 unless said. */
  readonly mean?: number
  readonly deviation?: number
}

export interface OpCase {
  readonly name: string
  readonly op: OpName
  readonly inputs: readonly CaseInput[]
  readonly attrs: unknown
  /** `expr` over the result (input 0) and these inputs. */
  readonly epilogue?: { readonly expr: Expr; readonly inputs: readonly CaseInput[] }
}

export interface BuiltCase {
  readonly graph: Graph
  /** Values that f16 holds exactly, so that every dtype starts from the same numbers. */
  readonly inputs: Readonly<Record<string, HostTensor>>
  readonly params: ReadonlyMap<string, Float32Array>
}

/** The case's one node as a graph with output `out`, and its values, the same every time. */
export function buildCase(opCase: OpCase): BuiltCase {
  const graph = new Graph(`${opCase.op} ${opCase.name}`)
  const inputs: Record<string, HostTensor> = {}
  const params = new Map<string, Float32Array>()
  const random = normals(opCase.name)
  const make = (input: CaseInput, name: string): Value => {
    const { shape, below, mean = 0, deviation = 1 } = input
    const count = elementCount(shape)
    if (below !== undefined) {
      inputs[name] = Int32Array.from({ length: count }, (_, i) => (i * 7919 + 3) % below)
      return graph.input(name, shape, 'int')
    }
    const values = Float32Array.from({ length: count }, () => fromF16Bits(toF16Bits(mean + deviation * random())))
    if (!input.param) {
      inputs[name] = values
      return graph.input(name, shape)
    }
    params.set(name, values)
    return graph.param(name, shape)
  }
  const operands = opCase.inputs.map((input, i) => make(input, `input${i}`))
  const epilogue = opCase.epilogue && {
    expr: opCase.epilogue.expr,
    inputs: opCase.epilogue.inputs.map((input, i) => make(input, `epilogue${i}`)),
  }
  const op = ops[opCase.op] as unknown as OpDef<unknown>
  graph.output('out', graph.add(op, operands, opCase.attrs, 'case', epilogue))
  return { graph, inputs, params }
}

/** The parameters as an executor reads them. */
export function sourceOf(params: ReadonlyMap<string, Float32Array>, graph: Graph): ParameterSource {
  const tensors = new Map(
    [...params.keys()].map((name) => [name, { dtype: 'F32' as const, shape: graph.params.get(name)!.shape }]),
  )
  return {
    label: graph.name,
    tensors,
    async read(name) {
      const values = params.get(name)!
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    },
    locate: () => undefined,
  }
}

/** A weight of a product over `fanIn` terms, sized so that results are of the inputs' size. */
export const weight = (shape: readonly number[], fanIn: number): CaseInput => ({
  shape,
  param: true,
  deviation: 1 / Math.sqrt(fanIn),
})
export const vector = (channels: number, mean = 0): CaseInput => ({
  shape: [channels],
  param: true,
  mean,
  deviation: 0.3,
})

/** The unit of a tolerance: a whole unit in the last place, as WGSL leaves the rounding direction open. */
export const epsilons = { f32: 2 ** -23, f16: 2 ** -10 } as const

export interface Worst {
  /** The largest |got − want| in units of epsilon · scale. NaN counts as infinite. */
  readonly units: number
  readonly index: number
  readonly text: string
}

/** Where `got` is furthest from the reference, measured in epsilon · scale. */
export function worst(got: ArrayLike<number>, want: RefResult, epsilon: number): Worst {
  let [units, index] = [0, 0]
  if (got.length !== want.data.length) units = Number.POSITIVE_INFINITY
  for (let i = 0; i < want.data.length; i++) {
    const difference = Math.abs(got[i]! - want.data[i]!)
    const ratio = difference === 0 ? 0 : difference / (epsilon * want.scale[i]!)
    if (ratio <= units) continue
    units = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
    index = i
  }
  const text = `worst at ${index} of ${want.data.length}: got ${got[index]}, want ${want.data[index]}, scale ${want.scale[index]}`
  return { units, index, text }
}

/** Seeded normal numbers (mulberry32, Box and Muller). */
function normals(seed: string): () => number {
  let state = 0x9e3779b9
  for (const character of seed) state = Math.imul(state ^ character.codePointAt(0)!, 0x01000193)
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}
