// Tensors of any size without a file: weights and inputs for measurements of speed, in a range that keeps results around 1.
import type { Graph } from '../graph/graph.ts'
import { elementCount } from '../ops/shapes.ts'
import type { HostTensor, ParameterSource } from '../run/executor.ts'

/** Uniform in −range … range, the same for the same seed (xorshift, since a layer may have tens of millions). */
export function uniform(count: number, seed: number, range: number): Float32Array {
  const values = new Float32Array(count)
  let state = (seed + 1) * 0x9e3779b9 || 1
  for (let i = 0; i < count; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = (state / 2 ** 31) * range
  }
  return values
}

/** Weights of the graph, of variance 1 / fan-in. Each read makes them anew, so that none is held. */
export function generatedParameters(graph: Graph): ParameterSource {
  const shapes = new Map([...graph.params.values()].map(({ name, shape }) => [name, shape]))
  const seeds = new Map([...shapes.keys()].map((name, i) => [name, i]))
  return {
    label: graph.name,
    tensors: new Map([...shapes].map(([name, shape]) => [name, { dtype: 'F32', shape }])),
    async read(name) {
      const shape = shapes.get(name)!
      const count = elementCount(shape)
      const fanIn = shape.length > 1 ? count / shape[0]! : 1
      return new Uint8Array(uniform(count, seeds.get(name)!, Math.sqrt(3 / fanIn)).buffer)
    },
    locate: () => undefined,
  }
}

/** Variance 1 for float inputs; integers count up from 0. */
export function generatedInputs({ inputs }: Graph): Record<string, HostTensor> {
  return Object.fromEntries(
    [...inputs.values()].map(({ name, shape, kind }, i) => {
      const count = elementCount(shape)
      const data =
        kind === 'int' ? Int32Array.from({ length: count }, (_, j) => j) : uniform(count, 1000 + i, Math.sqrt(3))
      return [name, data]
    }),
  )
}
