// CLIPTextModel and CLIPTextModelWithProjection (transformers: modeling_clip.py): token ids to hidden states.
// Which token's row is the pooled one depends on the ids and is settled on the host (`pooledRow`).
import * as v from 'valibot'
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { attention } from '../ops/attention.ts'
import { embedding } from '../ops/embedding.ts'
import { layerNorm } from '../ops/layer-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, gelu, quickGelu } from '../ops/pointwise.ts'
import { configError, count, parseConfig, positive } from './config.ts'

const schema = v.object({
  vocab_size: v.optional(count, 49408),
  hidden_size: v.optional(count, 512),
  intermediate_size: v.optional(count, 2048),
  projection_dim: v.optional(count, 512),
  num_hidden_layers: v.optional(count, 12),
  num_attention_heads: v.optional(count, 8),
  max_position_embeddings: v.optional(count, 77),
  hidden_act: v.optional(v.picklist(['quick_gelu', 'gelu']), 'quick_gelu'),
  layer_norm_eps: v.optional(positive, 1e-5),
  eos_token_id: v.nullish(v.number(), 49407),
})

export type ClipTextConfig = v.InferOutput<typeof schema>

const activations = { quick_gelu: quickGelu, gelu } as const

/** Raises 'model/unsupported' or 'model/config', naming key, value and file. */
export function parseClipTextConfig(json: unknown, file: string): ClipTextConfig {
  const config = parseConfig(schema, json, file)
  if (config.hidden_size % config.num_attention_heads !== 0) {
    const reason = `it does not divide hidden_size ${config.hidden_size}`
    throw configError(file, 'num_attention_heads', String(config.num_attention_heads), reason)
  }
  return config
}

/** A hidden state that a caller asks for, [batch, tokens, hidden_size] (`projection`: [batch, tokens, projection_dim]). */
export interface HiddenState {
  /** Layers left out, counted from the end: 0 is the last layer's result, 1 the penultimate (clip skip), all: the embeddings. */
  readonly skip: number
  /** Whether final_layer_norm is applied. */
  readonly norm: boolean
  /** Whether text_projection follows (CLIPTextModelWithProjection). */
  readonly projection?: boolean
}

/** What `CLIPTextModel(ids).last_hidden_state` is; its pooled row is `pooler_output`. */
export const lastHiddenState: HiddenState = { skip: 0, norm: true }

export interface ClipTextOptions {
  readonly batch: number
  /** The graph's outputs by name; layers that none of them needs are not built. */
  readonly outputs: Readonly<Record<string, HiddenState>>
}

/** Input `input_ids` [batch, max_position_embeddings] (int) → the outputs asked for. */
export function clipText(config: ClipTextConfig, { batch, outputs }: ClipTextOptions): Graph {
  const graph = new Graph('text_encoder')
  const ids = graph.input('input_ids', [batch, config.max_position_embeddings], 'int')
  const model = graph.scope('text_model')
  const wanted = Object.entries(outputs).map(([name, state]) => ({ name, state, layer: layerOf(name, state, config) }))
  const depth = Math.max(...wanted.map((each) => each.layer))

  const hidden = [textEmbeddings(model.scope('embeddings'), ids, config)]
  for (let i = 0; i < depth; i++) hidden.push(encoderLayer(model.scope(`encoder.layers.${i}`), hidden[i]!, config))

  for (const { name, state, layer } of wanted) {
    let x = hidden[layer]!
    if (state.norm) x = layerNorm(model.scope('final_layer_norm'), x, { epsilon: config.layer_norm_eps })
    if (state.projection) x = linear(graph.scope('text_projection'), x, config.projection_dim, { bias: false })
    graph.output(name, x)
  }
  return graph
}

/** The number of layers behind a hidden state. */
function layerOf(name: string, state: HiddenState, config: ClipTextConfig): number {
  const layer = config.num_hidden_layers - state.skip
  if (layer < 0 || layer > config.num_hidden_layers) {
    const reason = `the text encoder has ${config.num_hidden_layers} layers to skip`
    throw configError(name, 'skip', String(state.skip), reason)
  }
  return layer
}

function textEmbeddings(g: Scope, ids: Value, config: ClipTextConfig): Value {
  const tokens = embedding(g.scope('token_embedding'), ids, config.vocab_size, config.hidden_size)
  const positions = g.scope('position_embedding').param('weight', [config.max_position_embeddings, config.hidden_size])
  return add(tokens, positions) // [n, t, c] + [t, c]
}

function encoderLayer(g: Scope, x: Value, config: ClipTextConfig): Value {
  const norm = { epsilon: config.layer_norm_eps }
  const h = add(x, selfAttention(g.scope('self_attn'), layerNorm(g.scope('layer_norm1'), x, norm), config))
  return add(h, mlp(g.scope('mlp'), layerNorm(g.scope('layer_norm2'), h, norm), config))
}

function selfAttention(g: Scope, x: Value, config: ClipTextConfig): Value {
  const channels = config.hidden_size
  const q = linear(g.scope('q_proj'), x, channels)
  const k = linear(g.scope('k_proj'), x, channels)
  const values = linear(g.scope('v_proj'), x, channels)
  const h = attention(g, q, k, values, { heads: config.num_attention_heads, causal: true })
  return linear(g.scope('out_proj'), h, channels)
}

function mlp(g: Scope, x: Value, config: ClipTextConfig): Value {
  const h = activations[config.hidden_act](linear(g.scope('fc1'), x, config.intermediate_size))
  return linear(g.scope('fc2'), h, config.hidden_size)
}

/**
 * The row of each prompt that stands for the whole of it: where its end token is.
 * Configs of OpenAI's time say eos_token_id 2, which is wrong; there the largest id is the end token (as transformers does).
 * @param ids [batch, tokens]
 */
export function pooledRows(ids: Int32Array, tokens: number, config: ClipTextConfig): number[] {
  const rows: number[] = []
  for (let start = 0; start < ids.length; start += tokens) {
    const prompt = ids.subarray(start, start + tokens)
    const end = config.eos_token_id === 2 ? Math.max(...prompt) : config.eos_token_id
    rows.push(Math.max(0, end === null ? 0 : prompt.indexOf(end)))
  }
  return rows
}

/**
 * One row of each batch element: `pooler_output` of last_hidden_state, `text_embeds` of its projection.
 * @param states [batch, tokens, channels]
 * @returns [batch, channels]
 */
export function pool(states: Float32Array, rows: readonly number[], tokens: number): Float32Array {
  const channels = states.length / (rows.length * tokens)
  const pooled = new Float32Array(rows.length * channels)
  for (const [n, row] of rows.entries()) {
    const start = (n * tokens + row) * channels
    pooled.set(states.subarray(start, start + channels), n * channels)
  }
  return pooled
}
