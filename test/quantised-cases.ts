// Cases of products, convolutions and token tables whose weights are quantised: odd k, blocks with tails, n that is no multiple of
// four, taps across blocks. And what a quantised parameter is, in f64 terms: the reference computes from the same numbers.
import type { Graph } from '../src/graph/graph.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { quantisableParams } from '../src/plan/quantised.ts'
import { dequantise, type QuantisedFormat, quantise } from '../src/tensor/quantise.ts'
import { type OpCase, vector, weight } from './cases/case.ts'

function linear(rows: readonly number[], k: number, n: number, gate = false): OpCase {
  const attrs: MatmulAttrs = { transposeA: false, transposeB: true, ...(gate ? { gate: 'gelu' as const } : {}) }
  const features = gate ? 2 * n : n
  const name = `${rows.join('×')}×${k} → ${n}${gate ? ', gated' : ''}`
  return { name, op: 'matmul', attrs, inputs: [{ shape: [...rows, k] }, weight([features, k], k), vector(features)] }
}

/** Rows that are normalised as they are loaded: what quantised weights meet then. */
function normalised(rows: readonly number[], k: number, n: number): OpCase {
  const { name, inputs, attrs, ...rest } = linear(rows, k, n)
  const moments = { shape: [...rows, 2], mean: 1, deviation: 0.3 }
  return {
    ...rest,
    name: `normalised ${name}`,
    attrs: { ...(attrs as MatmulAttrs), normalised: true } satisfies MatmulAttrs,
    inputs: [...inputs, moments, vector(k, 1), vector(k)],
  }
}

function conv([n, h, w, c]: readonly [number, number, number, number], o: number, kernel: number, stride = 1): OpCase {
  const pad = kernel >> 1
  const attrs: Conv2dAttrs = { stride, padding: [pad, pad, pad, pad] }
  const inputs = [{ shape: [n, h, w, c] }, weight([o, c, kernel, kernel], c * kernel * kernel), vector(o)]
  return { name: `${kernel}×${kernel} stride ${stride}, ${n}×${h}×${w}×${c} → ${o}`, op: 'conv2d', inputs, attrs }
}

function table(tokens: number, words: number, width: number): OpCase {
  const inputs = [
    { shape: [2, tokens], below: words },
    { shape: [words, width], param: true as const },
  ]
  return { name: `${tokens} of ${words}, width ${width}`, op: 'embedding', inputs, attrs: {} }
}

export const quantisedCases: readonly OpCase[] = [
  linear([1], 64, 8),
  linear([7], 67, 11),
  linear([3, 19], 97, 70),
  linear([2, 77], 129, 36),
  linear([5], 320, 9),
  linear([4], 321, 128), // k of one scale after five blocks
  linear([2, 65], 192, 68),
  linear([2, 33], 96, 10, true),
  linear([2, 33], 70, 24, true),
  linear([130], 256, 136),
  conv([1, 7, 11, 9], 13, 3), // blocks across taps, twelve channels a tap
  conv([2, 6, 6, 20], 10, 3),
  conv([1, 9, 8, 68], 34, 3),
  conv([2, 7, 9, 24], 12, 3, 2),
  conv([1, 8, 8, 96], 64, 3),
  conv([1, 5, 7, 66], 9, 1),
  conv([2, 5, 3, 128], 40, 1),
  table(9, 131, 70),
  table(5, 64, 96),
  table(7, 33, 67),
  normalised([2, 33], 97, 36),
  normalised([70], 128, 40),
]

/** The parameters as they are once quantised; those that cannot be are themselves. */
export function quantisedParams(
  graph: Graph,
  params: ReadonlyMap<string, Float32Array>,
  format: QuantisedFormat,
): ReadonlyMap<string, Float32Array> {
  const shapes = new Map([...quantisableParams(graph)].map(({ name, shape }) => [name, shape]))
  return new Map(
    [...params].map(([name, values]) => {
      const shape = shapes.get(name)
      return [name, shape ? dequantise(quantise(values, format, shape)) : values]
    }),
  )
}
