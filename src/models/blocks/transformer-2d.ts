// Transformer2DModel and BasicTransformerBlock (diffusers: models/transformers/transformer_2d.py, models/attention.py).
import type { Scope, Value } from '../../graph/graph.ts'
import { attention } from '../../ops/attention.ts'
import { conv2d } from '../../ops/conv2d.ts'
import { groupNorm } from '../../ops/group-norm.ts'
import { layerNorm } from '../../ops/layer-norm.ts'
import { linear } from '../../ops/matmul.ts'
import { add, gelu, mul } from '../../ops/pointwise.ts'
import { reshape } from '../../ops/reshape.ts'
import { slice } from '../../ops/slice.ts'
import { channelsOf } from './resnet.ts'

/** Shows a module's result to whoever asked to see it, and hands it back. */
export type Tap = (module: Scope, value: Value) => Value

export interface Transformer2DConfig {
  readonly heads: number
  /** Transformer blocks in a row. */
  readonly layers: number
  readonly groups: number
  /** Whether proj_in and proj_out are linear layers (SD 2, SDXL) or 1×1 convolutions (SD 1). */
  readonly linearProjection: boolean
}

/** x [n, h, w, c] attends to itself and to `encoderHiddenStates` [n, t, d] → [n, h, w, c]. */
export function transformer2D(
  g: Scope,
  x: Value,
  encoderHiddenStates: Value,
  config: Transformer2DConfig,
  tap: Tap,
): Value {
  const channels = channelsOf(x)
  const tokens = [x.shape[0]!, x.shape[1]! * x.shape[2]!, channels]
  const normed = groupNorm(g.scope('norm'), x, { groups: config.groups, epsilon: 1e-6 })
  let h = config.linearProjection
    ? linear(g.scope('proj_in'), reshape(normed, tokens), channels)
    : reshape(conv2d(g.scope('proj_in'), normed, channels, { kernel: 1 }), tokens)
  for (let i = 0; i < config.layers; i++)
    h = basicTransformerBlock(g.scope(`transformer_blocks.${i}`), h, encoderHiddenStates, config.heads, tap)
  // The residual is added in the layout of the projection before it: so the two stay neighbours and can be one kernel.
  return config.linearProjection
    ? reshape(add(reshape(x, tokens), linear(g.scope('proj_out'), h, channels)), x.shape)
    : add(x, conv2d(g.scope('proj_out'), reshape(h, x.shape), channels, { kernel: 1 }))
}

function basicTransformerBlock(g: Scope, x: Value, encoderHiddenStates: Value, heads: number, tap: Tap): Value {
  const norm = { epsilon: 1e-5 }
  const normed = layerNorm(g.scope('norm1'), x, norm)
  let h = add(x, crossAttention(g.scope('attn1'), normed, normed, heads, tap))
  h = add(h, crossAttention(g.scope('attn2'), layerNorm(g.scope('norm2'), h, norm), encoderHiddenStates, heads, tap))
  return add(h, feedForward(g.scope('ff'), layerNorm(g.scope('norm3'), h, norm), tap))
}

/** Queries from x, keys and values from `context`; no biases but the last. */
function crossAttention(g: Scope, x: Value, context: Value, heads: number, tap: Tap): Value {
  const channels = channelsOf(x)
  const q = linear(g.scope('to_q'), x, channels, { bias: false })
  const k = linear(g.scope('to_k'), context, channels, { bias: false })
  const v = linear(g.scope('to_v'), context, channels, { bias: false })
  return tap(g, linear(g.scope('to_out.0'), attention(g, q, k, v, { heads }), channels))
}

/** GEGLU: the value half first, the gate half through exact GELU. */
function feedForward(g: Scope, x: Value, tap: Tap): Value {
  const channels = channelsOf(x)
  const hidden = 4 * channels
  const both = linear(g.scope('net.0.proj'), x, 2 * hidden)
  const gated = mul(slice(both, 0, hidden), gelu(slice(both, hidden, 2 * hidden)))
  return tap(g, linear(g.scope('net.2'), gated, channels))
}
