// UNet2DConditionModel (diffusers: models/unets/unet_2d_condition.py): latents, time and text to the model's prediction.
// Sinusoids are made on the host (`timestepInput`); the prediction's meaning is the sampler's business.
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { concat } from '../ops/concat.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, silu } from '../ops/pointwise.ts'
import { downBlock, midBlock, type UNetContext, upBlock } from './blocks/unet-blocks.ts'
import { sinusoidalEmbedding } from './timestep-embedding.ts'
import type { UNetConfig } from './unet-config.ts'

export interface UNetOptions {
  /** Guidance branches included. */
  readonly batch: number
  /** Of the latents. */
  readonly height: number
  readonly width: number
  /** Length of encoder_hidden_states: 77, or more with long prompts. */
  readonly tokens?: number
  /** Rows of input `timestep`: 1 (the default) when all of the batch are at the same time, else `batch`. */
  readonly timesteps?: number
  /** SDXL's size conditions for each picture: 6, in the refiner 5. */
  readonly timeIds?: number
  /** Modules whose results become outputs too, under their path, e.g. `down_blocks.0.resnets.0`. */
  readonly taps?: readonly string[]
}

/**
 * Inputs: `sample` [batch, height, width, in_channels], `timestep` [timesteps, block_out_channels[0]] (see `timestepInput`),
 * `encoder_hidden_states` [batch, tokens, cross_attention_dim]; for SDXL also `text_embeds` [batch, p] and `time_ids`
 * [batch, timeIds · addition_time_embed_dim] (see `timeIdsInput`). Output: `out` [batch, height, width, out_channels].
 */
export function unet2DCondition(config: UNetConfig, options: UNetOptions): Graph {
  const { batch, height, width, tokens = 77, timesteps = 1, taps = [] } = options
  const graph = new Graph('unet')
  const tap = (module: Scope, value: Value) => {
    if (taps.includes(module.path)) graph.output(module.path, value)
    return value
  }
  const g = graph.scope()
  const first = config.block_out_channels[0]!
  const sample = graph.input('sample', [batch, height, width, config.in_channels])
  const timestep = graph.input('timestep', [timesteps, first])
  const encoderHiddenStates = graph.input('encoder_hidden_states', [batch, tokens, config.contextChannels])

  let temb = tap(g.scope('time_embedding'), timestepEmbedding(g.scope('time_embedding'), timestep, 4 * first))
  const added = addedConditions(graph, config, options)
  if (added) temb = add(temb, tap(g.scope('add_embedding'), added))
  const context: UNetContext = { config, temb, encoderHiddenStates, tap }

  let h = tap(g.scope('conv_in'), convSame(g.scope('conv_in'), sample, first, config.conv_in_kernel))
  const skips = [h]
  const last = config.blocks.length - 1
  for (const [i, block] of config.blocks.entries())
    h = downBlock(g.scope(`down_blocks.${i}`), h, skips, block, i === last, context)
  if (config.mid_block_type) h = midBlock(g.scope('mid_block'), h, config.blocks[last]!, context)
  for (const [i, block] of config.blocks.toReversed().entries())
    h = upBlock(g.scope(`up_blocks.${i}`), h, skips, block, i === last, context)

  h = silu(groupNorm(g.scope('conv_norm_out'), h, { groups: config.norm_num_groups, epsilon: config.norm_eps }))
  graph.output('out', convSame(g.scope('conv_out'), h, config.out_channels, config.conv_out_kernel))
  return graph
}

function convSame(g: Scope, x: Value, channels: number, kernel: number): Value {
  return conv2d(g, x, channels, { kernel, padding: (kernel - 1) / 2 })
}

/** TimestepEmbedding: two linear layers with SiLU between them. */
function timestepEmbedding(g: Scope, x: Value, channels: number): Value {
  return linear(g.scope('linear_2'), silu(linear(g.scope('linear_1'), x, channels)), channels)
}

/** SDXL's `text_time`: pooled text and the sinusoids of sizes and crops, embedded like the time. */
function addedConditions(graph: Graph, config: UNetConfig, { batch, timeIds = 6 }: UNetOptions): Value | undefined {
  const { addition_time_embed_dim: channels, projection_class_embeddings_input_dim: inputs } = config
  if (!config.addition_embed_type || !channels || !inputs) return undefined
  const textEmbeds = graph.input('text_embeds', [batch, inputs - timeIds * channels])
  const sinusoids = graph.input('time_ids', [batch, timeIds * channels])
  const embedded = concat([textEmbeds, sinusoids])
  return timestepEmbedding(graph.scope('add_embedding'), embedded, 4 * config.block_out_channels[0]!)
}

/** What input `timestep` takes for these timesteps, fractions allowed: [timesteps, block_out_channels[0]]. */
export function timestepInput(config: UNetConfig, timesteps: readonly number[]): Float32Array {
  return sinusoidalEmbedding(timesteps, {
    channels: config.block_out_channels[0]!,
    flipSinToCos: config.flip_sin_to_cos,
    freqShift: config.freq_shift,
  })
}

/** What input `time_ids` takes: of each picture, the sinusoids of (height, width, top, left, target height, target width). */
export function timeIdsInput(config: UNetConfig, timeIds: readonly number[]): Float32Array {
  return sinusoidalEmbedding(timeIds, {
    channels: config.addition_time_embed_dim ?? 0,
    flipSinToCos: config.flip_sin_to_cos,
    freqShift: config.freq_shift,
  })
}
