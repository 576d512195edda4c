// ResnetBlock2D, Downsample2D and Upsample2D (diffusers: models/resnet.py), shared by the UNet and the autoencoder.
import type { Scope, Value } from '../../graph/graph.ts'
import { conv2d } from '../../ops/conv2d.ts'
import { groupNorm } from '../../ops/group-norm.ts'
import { linear } from '../../ops/matmul.ts'
import { add, silu } from '../../ops/pointwise.ts'
import { reshape } from '../../ops/reshape.ts'
import { upsampleNearest } from '../../ops/upsample.ts'

export interface GroupNormConfig {
  readonly groups: number
  readonly epsilon: number
}

/** The channels of a value: its last dimension. */
export function channelsOf(x: Value): number {
  return x.shape[x.shape.length - 1]!
}

/** x [n, h, w, c] → [n, h, w, channels]. `temb` [n or 1, t], where the model has one, is projected and added between the convolutions. */
export function resnetBlock(
  g: Scope,
  x: Value,
  temb: Value | undefined,
  channels: number,
  norm: GroupNormConfig,
): Value {
  // First, so that a wider x need not outlive its norm, and conv2 adds it to its result.
  const shortcut = channelsOf(x) === channels ? x : conv2d(g.scope('conv_shortcut'), x, channels, { kernel: 1 })
  let h = silu(groupNorm(g.scope('norm1'), x, norm))
  h = conv2d(g.scope('conv1'), h, channels, { kernel: 3, padding: 1 })
  if (temb) {
    const shift = linear(g.scope('time_emb_proj'), silu(temb), channels)
    h = add(h, reshape(shift, [shift.shape[0]!, 1, 1, channels]))
  }
  h = silu(groupNorm(g.scope('norm2'), h, norm))
  h = conv2d(g.scope('conv2'), h, channels, { kernel: 3, padding: 1 })
  return add(shortcut, h)
}

/** Halves height and width. `padding` as conv2d takes it: 1 in the UNet, right and bottom only in the VAE's encoder. */
export function downsample(g: Scope, x: Value, padding: number | readonly [number, number, number, number]): Value {
  return conv2d(g.scope('conv'), x, channelsOf(x), { kernel: 3, stride: 2, padding })
}

/** Nearest neighbours up to height × width, then a convolution. */
export function upsample(g: Scope, x: Value, height: number, width: number): Value {
  return conv2d(g.scope('conv'), upsampleNearest(x, height, width), channelsOf(x), { kernel: 3, padding: 1 })
}
