// The sizes of an attention, and what both variants say alike.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Request } from '../family.ts'

export interface AttentionProblem {
  readonly n: number
  readonly queries: number
  readonly keys: number
  readonly heads: number
  /** Channels of a head. */
  readonly width: number
}

export function attentionProblem({ attrs, inputs }: Request<AttentionAttrs>): AttentionProblem {
  const [n, queries, channels] = inputs[0]!.shape as [number, number, number]
  return { n, queries, keys: inputs[1]!.shape[1]!, heads: attrs.heads, width: channels / attrs.heads }
}

/**
 * Where running maxima start and what masked logits are: so low that exp2 of it is 0, so far from f32's end that no
 * difference overflows (WGSL need not honour infinities).
 */
export const lowest = -1e30

/** Queries are scaled by this once, so that the weights are exp2 of differences of logits. */
export function queryScale(scale: number): number {
  return scale * Math.LOG2E
}

/** Multiply-adds, half of them for the logits. */
export function multiplyAdds({ n, queries, keys, heads, width }: AttentionProblem): number {
  return 2 * n * heads * queries * keys * width
}

// In units of Σ p·|v|·(1 + what a logit's rounding does to its weight), as the op's reference bounds it: sums of d and of tk
// terms err by about one such unit (0.65 seen); 8 leaves room for a GPU's exp2 (3 + 2|x| ulps). f16: one store.
export const tolerance = { f32: 8, f16: 1.25 }

/**
 * Heads from one whole-vec4 boundary to the next: whoever computes them all writes the vec4s that they share, and nobody else.
 */
export function bundleSize(width: number): number {
  return width % 4 === 0 ? 1 : width % 2 === 0 ? 2 : 4
}

/** How many vec4s a head touches at most. */
export function groupsOf(width: number): number {
  const aligned = Math.ceil(width / 4)
  if (width % 4 === 0) return aligned
  const starts = width % 2 === 0 ? [0, 2] : [0, 1, 2, 3]
  return Math.max(...starts.map((start) => Math.ceil((start + width) / 4)))
}
