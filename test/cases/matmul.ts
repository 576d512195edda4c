// Cases of matmul: linear layers, GEGLU and batched products.
import { binary, constant, geluExpr, input, siluExpr } from '../../src/graph/expr.ts'
import type { MatmulAttrs } from '../../src/ops/attrs.ts'
import { type OpCase, vector, weight } from './case.ts'

interface LinearOptions {
  readonly bias?: boolean
  readonly gate?: true
  readonly epilogue?: OpCase['epilogue']
}

/** x [..., k] with a weight of the state dict's layout [n, k]. */
function linear(name: string, rows: readonly number[], k: number, n: number, options: LinearOptions = {}): OpCase {
  const { bias = true, gate, epilogue } = options
  const attrs: MatmulAttrs = { transposeA: false, transposeB: true, ...(gate ? { gate: 'gelu' } : {}) }
  const features = gate ? 2 * n : n
  const inputs = [{ shape: [...rows, k] }, weight([features, k], k), ...(bias ? [vector(features)] : [])]
  return { name, op: 'matmul', inputs, attrs, ...(epilogue ? { epilogue } : {}) }
}

/** The same of rows that are normalised as they are loaded, with moments of about their size. */
function normalised(
  name: string,
  rows: readonly number[],
  k: number,
  n: number,
  options: LinearOptions & { mean?: number } = {},
): OpCase {
  const { mean = 0, ...rest } = options
  const { inputs, attrs, ...plain } = linear(name, rows, k, n, rest)
  const [x, ...weights] = inputs
  const moments = { shape: [...rows, 2], mean: Math.max(1, mean), deviation: 0.3 }
  return {
    ...plain,
    inputs: [{ ...x!, mean }, ...weights, moments, vector(k, 1), vector(k)],
    attrs: { ...(attrs as MatmulAttrs), normalised: true } satisfies MatmulAttrs,
  }
}

function product(name: string, a: number[], b: number[], transposeA: boolean, transposeB: boolean): OpCase {
  const k = b.at(transposeB ? -1 : -2)!
  const attrs: MatmulAttrs = { transposeA, transposeB }
  return { name, op: 'matmul', inputs: [{ shape: a }, { shape: b, deviation: 1 / Math.sqrt(k) }], attrs }
}

const residual = binary('add', input(0), input(1))

export const cases: readonly OpCase[] = [
  linear('one number', [1], 1, 1),
  linear('one row', [1], 320, 128),
  linear('one feature out', [5], 16, 1),
  linear('one feature in', [5], 1, 16),
  linear('primes', [7], 13, 11),
  linear('time projection, batch 2', [2], 96, 192),
  linear('no bias', [2, 9], 20, 12, { bias: false }),
  linear('text tokens', [2, 77], 48, 40),
  linear('tails everywhere', [3, 19], 37, 70),
  linear('a tile and a row', [1, 65], 64, 65),
  linear('cross attention keys', [2, 77], 192, 96, { bias: false }),
  linear('tokens of an image', [2, 64], 128, 128),
  linear('an image', [2, 5, 3, 12], 12, 10),
  linear('long sum', [1, 8], 1280, 24),
  linear('wide', [1, 6], 24, 1280),
  linear('text mlp, in', [1, 77], 192, 768),
  linear('text mlp, out', [1, 77], 768, 192),
  linear('gate, small', [1, 3], 5, 3, { gate: true }),
  linear('gate, no bias', [2, 7], 12, 8, { gate: true, bias: false }),
  linear('gate, tails', [2, 33], 18, 38, { gate: true }),
  linear('gate, unet level', [1, 64], 96, 384, { gate: true }),
  linear('silu', [2, 5], 24, 30, { epilogue: { expr: siluExpr(input(0)), inputs: [] } }),
  linear('gelu', [1, 9], 16, 20, { epilogue: { expr: geluExpr(input(0)), inputs: [] } }),
  linear('residual', [2, 17], 24, 36, { epilogue: { expr: residual, inputs: [{ shape: [2, 17, 36] }] } }),
  linear('residual of the gate', [1, 6], 8, 12, {
    gate: true,
    epilogue: { expr: residual, inputs: [{ shape: [1, 6, 12] }] },
  }),
  linear('scaled and a vector', [1, 6], 8, 9, {
    epilogue: { expr: binary('mul', residual, constant(0.5)), inputs: [vector(9)] },
  }),
  normalised('normalised, one number', [1], 1, 1),
  normalised('normalised, one row', [1, 1], 40, 24),
  normalised('normalised, tails everywhere', [3, 19], 37, 70, { bias: false }),
  normalised('normalised queries', [2, 65], 96, 96, { bias: false }),
  normalised('normalised, long sum', [1, 8], 1280, 24),
  normalised('normalised, mean far away', [1, 21], 62, 18, { mean: 10 }),
  normalised('normalised, gate, tails', [2, 33], 18, 38, { gate: true }),
  normalised('normalised, gate, unet level', [1, 64], 96, 384, { gate: true }),
  normalised('normalised, gelu', [1, 77], 48, 36, { epilogue: { expr: geluExpr(input(0)), inputs: [] } }),
  normalised('normalised, residual', [2, 17], 24, 36, {
    epilogue: { expr: residual, inputs: [{ shape: [2, 17, 36] }] },
  }),
  {
    ...normalised('normalised, a weight of rows of k', [2, 9], 20, 12),
    inputs: [
      { shape: [2, 9, 20] },
      weight([20, 12], 20),
      vector(12),
      { shape: [2, 9, 2], mean: 1, deviation: 0.3 },
      vector(20, 1),
      vector(20),
    ],
    attrs: { transposeA: false, transposeB: false, normalised: true } satisfies MatmulAttrs,
  },
  {
    name: 'normalised, batched',
    op: 'matmul',
    inputs: [
      { shape: [3, 5, 7] },
      { shape: [3, 6, 7], deviation: 0.4 },
      { shape: [3, 5, 2], mean: 1, deviation: 0.3 },
      vector(7, 1),
      vector(7),
    ],
    attrs: { transposeA: false, transposeB: true, normalised: true } satisfies MatmulAttrs,
  },
  product('batched', [3, 5, 7], [3, 7, 6], false, false),
  product('batched, b transposed', [3, 5, 7], [3, 6, 7], false, true),
  product('batched, a transposed', [3, 7, 5], [3, 7, 6], true, false),
  product('batched, both transposed', [3, 7, 5], [3, 6, 7], true, true),
  product('batched, wide', [2, 20, 36], [2, 36, 77], false, false),
  product('one matrix for all batches', [3, 5, 8], [8, 6], false, false),
  product('plain matrices', [16, 24], [24, 12], false, false),
  product('two batch axes', [2, 3, 5, 8], [2, 3, 6, 8], false, true),
]
