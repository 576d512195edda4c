// The UNet's down, middle and up blocks (diffusers: models/unets/unet_2d_blocks.py). A block with and without attention
// is one function: the config says which.
import type { Scope, Value } from '../../graph/graph.ts'
import { concat } from '../../ops/concat.ts'
import type { UNetBlockConfig, UNetConfig } from '../unet-config.ts'
import { downsample, resnetBlock, upsample } from './resnet.ts'
import { type Tap, transformer2D } from './transformer-2d.ts'

/** What every block of one UNet sees. */
export interface UNetContext {
  readonly config: UNetConfig
  /** Time embedding [n or 1, t], before its SiLU. */
  readonly temb: Value
  readonly encoderHiddenStates: Value // [n, tokens, c]
  readonly tap: Tap
}

function resnet(g: Scope, x: Value, channels: number, { config, temb, tap }: UNetContext): Value {
  return tap(g, resnetBlock(g, x, temb, channels, { groups: config.norm_num_groups, epsilon: config.norm_eps }))
}

function transformer(g: Scope, x: Value, block: UNetBlockConfig, context: UNetContext): Value {
  const { config, encoderHiddenStates, tap } = context
  const settings = {
    heads: block.heads,
    layers: block.transformerLayers,
    groups: config.norm_num_groups,
    linearProjection: config.use_linear_projection,
  }
  return tap(g, transformer2D(g, x, encoderHiddenStates, settings, tap))
}

/** CrossAttnDownBlock2D and DownBlock2D. Every result that the way up will want goes onto `skips`. */
export function downBlock(
  g: Scope,
  x: Value,
  skips: Value[],
  block: UNetBlockConfig,
  last: boolean,
  context: UNetContext,
): Value {
  let h = x
  for (let i = 0; i < block.layers; i++) {
    h = resnet(g.scope(`resnets.${i}`), h, block.channels, context)
    if (block.downAttention) h = transformer(g.scope(`attentions.${i}`), h, block, context)
    skips.push(h)
  }
  if (!last) {
    h = downsample(g.scope('downsamplers.0'), h, context.config.downsample_padding)
    skips.push(h)
  }
  return context.tap(g, h)
}

/** UNetMidBlock2DCrossAttn. */
export function midBlock(g: Scope, x: Value, block: UNetBlockConfig, context: UNetContext): Value {
  let h = resnet(g.scope('resnets.0'), x, block.channels, context)
  h = transformer(g.scope('attentions.0'), h, block, context)
  return context.tap(g, resnet(g.scope('resnets.1'), h, block.channels, context))
}

/** CrossAttnUpBlock2D and UpBlock2D. Takes its skips off the end of `skips`; the next skip left gives the size to grow to. */
export function upBlock(
  g: Scope,
  x: Value,
  skips: Value[],
  block: UNetBlockConfig,
  last: boolean,
  context: UNetContext,
): Value {
  let h = x
  for (let i = 0; i <= block.layers; i++) {
    h = resnet(g.scope(`resnets.${i}`), concat([h, skips.pop()!]), block.channels, context)
    if (block.upAttention) h = transformer(g.scope(`attentions.${i}`), h, block, context)
  }
  // Latents of odd size are halved rounding up: doubling would overshoot, so the skip's size counts.
  const next = skips.at(-1)
  if (!last && next) h = upsample(g.scope('upsamplers.0'), h, next.shape[1]!, next.shape[2]!)
  return context.tap(g, h)
}
