// The config.json of a UNet2DConditionModel: diffusers' defaults, and each block's settings worked out of the lists.
import * as v from 'valibot'
import { absent, configError, count, counts, only, parseConfig, positive } from './config.ts'

const numberOrList = v.union([count, counts])

const schema = v.object({
  in_channels: v.optional(count, 4),
  out_channels: v.optional(count, 4),
  block_out_channels: v.optional(counts, [320, 640, 1280, 1280]),
  down_block_types: v.optional(v.array(v.picklist(['CrossAttnDownBlock2D', 'DownBlock2D'])), [
    'CrossAttnDownBlock2D',
    'CrossAttnDownBlock2D',
    'CrossAttnDownBlock2D',
    'DownBlock2D',
  ]),
  mid_block_type: v.optional(v.nullable(v.picklist(['UNetMidBlock2DCrossAttn'])), 'UNetMidBlock2DCrossAttn'),
  up_block_types: v.optional(v.array(v.picklist(['UpBlock2D', 'CrossAttnUpBlock2D'])), [
    'UpBlock2D',
    'CrossAttnUpBlock2D',
    'CrossAttnUpBlock2D',
    'CrossAttnUpBlock2D',
  ]),
  layers_per_block: v.optional(numberOrList, 2),
  transformer_layers_per_block: v.optional(numberOrList, 1),
  attention_head_dim: v.optional(numberOrList, 8),
  cross_attention_dim: v.optional(numberOrList, 1280),
  norm_num_groups: v.optional(count, 32),
  norm_eps: v.optional(positive, 1e-5),
  use_linear_projection: v.nullish(v.boolean(), false),
  flip_sin_to_cos: v.optional(v.boolean(), true),
  freq_shift: v.optional(v.number(), 0),
  downsample_padding: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 1),
  conv_in_kernel: v.optional(count, 3),
  conv_out_kernel: v.optional(count, 3),
  sample_size: v.nullish(v.union([count, counts])),
  addition_embed_type: v.nullish(v.picklist(['text_time'])),
  addition_time_embed_dim: v.nullish(count),
  projection_class_embeddings_input_dim: v.nullish(count),
  act_fn: v.optional(v.picklist(['silu', 'swish']), 'silu'),
  center_input_sample: only(false),
  mid_block_scale_factor: only(1),
  resnet_time_scale_shift: only('default'),
  resnet_skip_time_act: only(false),
  resnet_out_scale_factor: only(1),
  time_embedding_type: only('positional'),
  attention_type: only('default'),
  dual_cross_attention: only(false),
  only_cross_attention: only(false),
  mid_block_only_cross_attention: only(false),
  class_embeddings_concat: only(false),
  num_attention_heads: absent,
  reverse_transformer_layers_per_block: absent,
  class_embed_type: absent,
  num_class_embeds: absent,
  encoder_hid_dim: absent,
  encoder_hid_dim_type: absent,
  time_embedding_dim: absent,
  time_embedding_act_fn: absent,
  timestep_post_act: absent,
  time_cond_proj_dim: absent,
  cross_attention_norm: absent,
})

/** One resolution of the UNet, in the order of `block_out_channels`. */
export interface UNetBlockConfig {
  readonly channels: number
  /** Resnets on the way down; one more on the way up. */
  readonly layers: number
  readonly transformerLayers: number
  /** `attention_head_dim` means the number of heads: a misnomer that diffusers keeps for the sake of the files. */
  readonly heads: number
  readonly downAttention: boolean
  readonly upAttention: boolean
}

export interface UNetConfig extends v.InferOutput<typeof schema> {
  readonly blocks: readonly UNetBlockConfig[]
  /** Channels of encoder_hidden_states. */
  readonly contextChannels: number
}

/** Raises 'model/unsupported' or 'model/config', naming key, value and file. */
export function parseUNetConfig(json: unknown, file: string): UNetConfig {
  const config = parseConfig(schema, json, file)
  const channels = config.block_out_channels
  const wrong = (key: keyof typeof config, reason: string) =>
    configError(file, key, JSON.stringify(config[key]), reason)

  const perBlock = (key: keyof typeof config & keyof ListKeys): readonly number[] => {
    const value = config[key]
    if (typeof value === 'number') return channels.map(() => value)
    if (value.length === channels.length) return value
    throw wrong(key, `block_out_channels has ${channels.length} blocks`)
  }
  for (const key of ['down_block_types', 'up_block_types'] as const)
    if (config[key].length !== channels.length) throw wrong(key, `block_out_channels has ${channels.length} blocks`)

  const layers = perBlock('layers_per_block')
  const transformerLayers = perBlock('transformer_layers_per_block')
  const heads = perBlock('attention_head_dim')
  const contexts = perBlock('cross_attention_dim')
  if (contexts.some((each) => each !== contexts[0])) throw wrong('cross_attention_dim', 'the blocks must agree')
  for (const [i, each] of channels.entries()) {
    if (each % config.norm_num_groups !== 0)
      throw wrong('norm_num_groups', `it does not divide block_out_channels[${i}] = ${each}`)
    if (each % heads[i]! !== 0) throw wrong('attention_head_dim', `${heads[i]} heads do not divide ${each} channels`)
  }
  if (config.addition_embed_type && !(config.addition_time_embed_dim && config.projection_class_embeddings_input_dim))
    throw wrong(
      'addition_embed_type',
      'addition_time_embed_dim and projection_class_embeddings_input_dim must be given',
    )

  const blocks = channels.map((each, i) => ({
    channels: each,
    layers: layers[i]!,
    transformerLayers: transformerLayers[i]!,
    heads: heads[i]!,
    downAttention: config.down_block_types[i] === 'CrossAttnDownBlock2D',
    upAttention: config.up_block_types[channels.length - 1 - i] === 'CrossAttnUpBlock2D',
  }))
  return { ...config, blocks, contextChannels: contexts[0]! }
}

type ListKeys = Record<
  'layers_per_block' | 'transformer_layers_per_block' | 'attention_head_dim' | 'cross_attention_dim',
  unknown
>
