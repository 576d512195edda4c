// The attributes of every op, in one place, so that kernels can read them without loading the ops.
import type { Expr } from '../graph/expr.ts'

/**
 * inputs: x [n, h, w, c], weight [o, c, kh, kw] (state dict layout), bias [o] if present → [n, h', w', o].
 * With `normalised`, two more: moments [n, 2, c] (see groupMoments), beta [c]; each element of x is then (x − mean) · scale + beta,
 * through SiLU if that is asked for, applied as it is loaded: padding stays zero. See ops/conv-operands.ts.
 */
export interface Conv2dAttrs {
  readonly stride: number
  /**
   * top, right, bottom, left: asymmetric in the VAE encoder's downsampling. Below zero, so many rows or columns are left out:
   * a band of an enlarged image may begin or end between two rows that come of one.
   */
  readonly padding: readonly [number, number, number, number]
  /** 2: the convolution sees x as if each pixel were there twice in both directions, [n, 2·h, 2·w, c] (nearest neighbours). */
  readonly upsample?: 2
  readonly normalised?: 'linear' | 'silu'
}

/**
 * inputs: a [..., m, k], b [n, k] (a weight, shared by all batches, state dict layout) or [..., n, k] / [..., k, n]; bias [n] if present.
 * With `gate`, b has 2·n rows: result = (a·b₁ᵀ + bias₁) · gelu(a·b₂ᵀ + bias₂), value half first (GEGLU).
 * With `normalised`, three more: moments [..., m, 2] (see rowMoments), gamma [k], beta [k]; each element x of a is then
 * (x − mean) · scale · gamma + beta, applied as it is loaded. Not for a transposed a. See ops/matmul-operands.ts.
 */
export interface MatmulAttrs {
  readonly transposeA: boolean
  /** true: b is [..., n, k], as torch's Linear stores it. */
  readonly transposeB: boolean
  readonly gate?: 'gelu'
  readonly normalised?: true
}

/** inputs: x [n, ..., c], gamma [c], beta [c] → the same shape. Statistics over all but n, by group of channels, in f32. */
export interface GroupNormAttrs {
  readonly groups: number
  readonly epsilon: number
}

/** inputs: x [..., c], gamma [c], beta [c]. */
export interface LayerNormAttrs {
  readonly epsilon: number
}

/** One input x [..., c] → [..., 2] in f32: of each row the mean, and 1 / √(variance + epsilon). */
export type RowMomentsAttrs = LayerNormAttrs

/**
 * inputs: q [n, tq, heads·d], k [n, tk, heads·d], v [n, tk, heads·d] → [n, tq, heads·d].
 * softmax(scale · q·kᵀ)·v by head; head h is channels h·d … h·d+d−1. `causal`: query i sees keys 0 … i.
 */
export interface AttentionAttrs {
  readonly heads: number
  readonly scale: number
  readonly causal: boolean
}

/** inputs: broadcast against each other as numpy does (right-aligned), ranks ≥ 4 only with equal ranks or rank 1. */
export interface PointwiseAttrs {
  readonly expr: Expr
}

/** inputs: ids [n, t] (int), table [vocabulary, c] → [n, t, c]. */
export type EmbeddingAttrs = Record<never, never>

/** inputs: x [n, h, w, c] → [n, height, width, c], nearest: source row = floor(y · h / height). */
export interface UpsampleAttrs {
  readonly height: number
  readonly width: number
}

/** inputs: any number, equal but for `axis` (only the last axis, channels, for now). */
export interface ConcatAttrs {
  readonly axis: -1
}

/** One input; of `slice`, channels start … end−1 of the last axis; of `sliceRows`, rows start … end−1 of [1, h, ..., c]. */
export interface SliceAttrs {
  readonly start: number
  readonly end: number
}

/** One input; the same elements in another shape. The last dimension stays: storage pads it. */
export interface ReshapeAttrs {
  readonly shape: readonly number[]
}

/** inputs: bands [1, hᵢ, ..., c], equal but for their rows → [1, Σhᵢ, ..., c]. */
export type JoinRowsAttrs = Record<never, never>

/**
 * One input, images x [n, h, w, c] → [n, parts, 2, c] in f32: of every `rows` rows (the last part may have fewer) the mean of
 * each channel and the sum of its squared deviations from that mean.
 */
export interface ChannelMomentsAttrs {
  readonly rows: number
}

/**
 * inputs: the moments [n, parts, 2, c] of images of `pixels` pixels, `partPixels` in each part but the last; gamma [c] → [n, 2, c]
 * in f32: for each channel the mean of its group, and gamma / √(variance of the group + epsilon).
 */
export interface GroupMomentsAttrs extends GroupNormAttrs {
  readonly pixels: number
  readonly partPixels: number
}

/** inputs: x [n, h, w, c], moments [n, 2, c] (mean and scale by channel), beta [c] → (x − mean) · scale + beta. */
export type NormaliseAttrs = Record<never, never>
