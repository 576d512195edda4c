// AutoencoderKL (diffusers: models/autoencoders/autoencoder_kl.py, vae.py): latents to pictures and back.
// Scaling by `scaling_factor`, sampling from mean and logvar, and bytes are the pipeline's business.
import * as v from 'valibot'
import { binary, constant, input } from '../graph/expr.ts'
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, pointwise, silu } from '../ops/pointwise.ts'
import { reshape } from '../ops/reshape.ts'
import { slice } from '../ops/slice.ts'
import { channelsOf, downsample, resnetBlock, upsample } from './blocks/resnet.ts'
import { absent, configError, count, counts, only, parseConfig, positive } from './config.ts'

const schema = v.object({
  in_channels: v.optional(count, 3),
  out_channels: v.optional(count, 3),
  latent_channels: v.optional(count, 4),
  block_out_channels: v.optional(counts, [64]),
  down_block_types: v.optional(v.array(v.picklist(['DownEncoderBlock2D'])), ['DownEncoderBlock2D']),
  up_block_types: v.optional(v.array(v.picklist(['UpDecoderBlock2D'])), ['UpDecoderBlock2D']),
  layers_per_block: v.optional(count, 1),
  norm_num_groups: v.optional(count, 32),
  act_fn: v.optional(v.picklist(['silu', 'swish']), 'silu'),
  sample_size: v.nullish(v.union([count, counts])),
  scaling_factor: v.nullish(positive, 0.18215),
  shift_factor: v.nullish(v.number(), 0),
  use_quant_conv: v.nullish(v.boolean(), true),
  use_post_quant_conv: v.nullish(v.boolean(), true),
  mid_block_add_attention: only(true),
  latents_mean: absent,
  latents_std: absent,
})

export type AutoencoderKLConfig = v.InferOutput<typeof schema>

/** Of all norms in the autoencoder; its config has no key for it. */
const epsilon = 1e-6

/** Raises 'model/unsupported' or 'model/config', naming key, value and file. */
export function parseAutoencoderKLConfig(json: unknown, file: string): AutoencoderKLConfig {
  const config = parseConfig(schema, json, file)
  const channels = config.block_out_channels
  for (const key of ['down_block_types', 'up_block_types'] as const)
    if (config[key].length !== channels.length)
      throw configError(file, key, JSON.stringify(config[key]), `block_out_channels has ${channels.length} blocks`)
  const odd = channels.find((each) => each % config.norm_num_groups !== 0)
  if (odd !== undefined)
    throw configError(file, 'norm_num_groups', String(config.norm_num_groups), `it does not divide ${odd} channels`)
  return config
}

/** Pixels along one side of a latent cell. */
export function pixelsPerLatent(config: AutoencoderKLConfig): number {
  return 2 ** (config.block_out_channels.length - 1)
}

export interface PlaneOptions {
  readonly batch: number
  /** Of the graph's input: latents for the decoder, pixels for the encoder. */
  readonly height: number
  readonly width: number
}

/** Input `latents` [n, h, w, latent_channels], already divided by the scaling factor → `sample` [n, H, W, out_channels], about −1 … 1. */
export function autoencoderKLDecoder(config: AutoencoderKLConfig, { batch, height, width }: PlaneOptions): Graph {
  const graph = new Graph('vae_decoder')
  let h = graph.input('latents', [batch, height, width, config.latent_channels])
  if (config.use_post_quant_conv) h = conv2d(graph.scope('post_quant_conv'), h, config.latent_channels, { kernel: 1 })
  graph.output('sample', decoder(graph.scope('decoder'), h, config))
  return graph
}

/** Input `sample` [n, h, w, in_channels], −1 … 1 → `mean` and `logvar` (within −30 … 20) [n, h', w', latent_channels]. */
export function autoencoderKLEncoder(config: AutoencoderKLConfig, { batch, height, width }: PlaneOptions): Graph {
  const graph = new Graph('vae_encoder')
  const channels = config.latent_channels
  let h = encoder(graph.scope('encoder'), graph.input('sample', [batch, height, width, config.in_channels]), config)
  if (config.use_quant_conv) h = conv2d(graph.scope('quant_conv'), h, 2 * channels, { kernel: 1 })
  graph.output('mean', slice(h, 0, channels))
  // DiagonalGaussianDistribution clamps, so that exp(logvar / 2) stays finite.
  const clamped = binary('min', binary('max', input(0), constant(-30)), constant(20))
  graph.output('logvar', pointwise(clamped, [slice(h, channels, 2 * channels)]))
  return graph
}

function resnet(g: Scope, x: Value, channels: number, config: AutoencoderKLConfig): Value {
  return resnetBlock(g, x, undefined, channels, { groups: config.norm_num_groups, epsilon })
}

function decoder(g: Scope, z: Value, config: AutoencoderKLConfig): Value {
  const channels = config.block_out_channels.toReversed()
  let h = conv2d(g.scope('conv_in'), z, channels[0]!, { kernel: 3, padding: 1 })
  h = midBlock(g.scope('mid_block'), h, config)
  for (const [i, each] of channels.entries()) {
    const block = g.scope(`up_blocks.${i}`)
    for (let j = 0; j <= config.layers_per_block; j++) h = resnet(block.scope(`resnets.${j}`), h, each, config)
    if (i < channels.length - 1) h = upsample(block.scope('upsamplers.0'), h, 2 * h.shape[1]!, 2 * h.shape[2]!)
  }
  return head(g, h, config.out_channels, config)
}

function encoder(g: Scope, x: Value, config: AutoencoderKLConfig): Value {
  const channels = config.block_out_channels
  let h = conv2d(g.scope('conv_in'), x, channels[0]!, { kernel: 3, padding: 1 })
  for (const [i, each] of channels.entries()) {
    const block = g.scope(`down_blocks.${i}`)
    for (let j = 0; j < config.layers_per_block; j++) h = resnet(block.scope(`resnets.${j}`), h, each, config)
    if (i < channels.length - 1) h = downsample(block.scope('downsamplers.0'), h, [0, 1, 1, 0]) // right and bottom only
  }
  return head(g, midBlock(g.scope('mid_block'), h, config), 2 * config.latent_channels, config)
}

function head(g: Scope, x: Value, channels: number, config: AutoencoderKLConfig): Value {
  const h = silu(groupNorm(g.scope('conv_norm_out'), x, { groups: config.norm_num_groups, epsilon }))
  return conv2d(g.scope('conv_out'), h, channels, { kernel: 3, padding: 1 })
}

function midBlock(g: Scope, x: Value, config: AutoencoderKLConfig): Value {
  const channels = channelsOf(x)
  let h = resnet(g.scope('resnets.0'), x, channels, config)
  h = selfAttention(g.scope('attentions.0'), h, config)
  return resnet(g.scope('resnets.1'), h, channels, config)
}

/** One head over all pixels, as wide as the channels. */
function selfAttention(g: Scope, x: Value, config: AutoencoderKLConfig): Value {
  const channels = channelsOf(x)
  const tokens = [x.shape[0]!, x.shape[1]! * x.shape[2]!, channels]
  const h = reshape(groupNorm(g.scope('group_norm'), x, { groups: config.norm_num_groups, epsilon }), tokens)
  const q = linear(g.scope('to_q'), h, channels)
  const k = linear(g.scope('to_k'), h, channels)
  const values = linear(g.scope('to_v'), h, channels)
  const out = linear(g.scope('to_out.0'), attention(g, q, k, values, { heads: 1 }), channels)
  return reshape(add(reshape(x, tokens), out), x.shape)
}
