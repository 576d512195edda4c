// Cases of attention.
import { binary, input } from '../../src/graph/expr.ts'
import type { AttentionAttrs } from '../../src/ops/attrs.ts'
import type { OpCase } from './case.ts'

interface Options {
  readonly n?: number
  readonly heads?: number
  readonly causal?: true
  readonly scale?: number
  readonly deviation?: number
  readonly epilogue?: OpCase['epilogue']
}

/** tq queries, tk keys, heads of width d. */
function attend(name: string, tq: number, tk: number, d: number, options: Options = {}): OpCase {
  const { n = 1, heads = 2, causal = false, scale = 1 / Math.sqrt(d), deviation = 1, epilogue } = options
  const attrs: AttentionAttrs = { heads, scale, causal }
  const keys = { shape: [n, tk, heads * d], deviation }
  const inputs = [{ shape: [n, tq, heads * d], deviation }, keys, { shape: keys.shape }]
  return { name, op: 'attention', inputs, attrs, ...(epilogue ? { epilogue } : {}) }
}

export const cases: readonly OpCase[] = [
  attend('one query, one key', 1, 1, 4, { heads: 1 }),
  attend('one query', 1, 9, 8),
  attend('one key', 9, 1, 8),
  attend('width 1', 5, 6, 1),
  attend('width 2', 7, 11, 2, { heads: 3 }),
  attend('width 3', 13, 5, 3, { heads: 5 }),
  attend('width 12, eight heads, batch 2', 64, 64, 12, { n: 2, heads: 8 }),
  attend('width 16', 33, 33, 16, { heads: 3 }),
  attend('width 24', 64, 64, 24, { n: 2, heads: 8 }),
  attend('width 32', 31, 66, 32),
  attend('width 40', 67, 67, 40),
  attend('width 64', 40, 40, 64),
  attend('width 80', 20, 35, 80),
  attend('width 160', 17, 33, 160),
  attend('width 128, one head', 65, 65, 128, { heads: 1 }),
  attend('width 512, one head', 21, 37, 512, { heads: 1 }),
  attend('cross, 77 tokens', 64, 77, 12, { n: 2, heads: 8 }),
  attend('cross, 77 tokens, width 40', 37, 77, 40, { n: 2 }),
  attend('cross, 154 tokens', 16, 154, 8),
  attend('many keys', 3, 523, 16),
  attend('many queries', 523, 3, 16),
  attend('tokens of a 16×16 image', 256, 256, 12),
  attend('causal, one', 1, 1, 8, { causal: true }),
  attend('causal, primes', 13, 13, 8, { n: 2, heads: 3, causal: true }),
  attend('causal, text', 77, 77, 32, { heads: 6, causal: true }),
  attend('causal, tail', 65, 65, 12, { causal: true }),
  attend('causal, text, width 64', 77, 77, 64, { n: 2, heads: 3, causal: true }),
  attend('tail of queries, width 64', 77, 77, 64, { n: 2 }),
  attend('scale of one', 9, 12, 8, { scale: 1 }),
  attend('large logits', 16, 40, 16, { deviation: 6 }),
  attend('residual', 9, 7, 12, {
    n: 2,
    epilogue: { expr: binary('add', input(0), input(1)), inputs: [{ shape: [2, 9, 24] }] },
  }),
]
