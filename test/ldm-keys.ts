// The tensors of an original checkpoint, names and shapes, written down as its own modules make them (CompVis' openaimodel.py and
// model.py, OpenCLIP's transformer.py, transformers' CLIPTextModel): what readers of single files are tried on.

export type Shapes = Map<string, readonly number[]>

function layer(into: Shapes, name: string, shape: readonly number[], bias = true): void {
  into.set(`${name}.weight`, shape)
  if (bias) into.set(`${name}.bias`, [shape[0]!])
}

export interface LdmUNet {
  readonly inChannels: number
  readonly width: number
  readonly mult: readonly number[]
  readonly context: number
  /** Levels without attention at the end. */
  readonly plainLevels: number
  readonly linear: boolean
}

/** openaimodel.py: UNetModel.__init__, two residual blocks a level. */
export function ldmUNet({ inChannels, width, mult, context, plainLevels, linear }: LdmUNet): Shapes {
  const own: Shapes = new Map()
  const time = 4 * width
  const resnet = (name: string, from: number, to: number) => {
    layer(own, `${name}.in_layers.0`, [from])
    layer(own, `${name}.in_layers.2`, [to, from, 3, 3])
    layer(own, `${name}.emb_layers.1`, [to, time])
    layer(own, `${name}.out_layers.0`, [to])
    layer(own, `${name}.out_layers.3`, [to, to, 3, 3])
    if (from !== to) layer(own, `${name}.skip_connection`, [to, from, 1, 1])
  }
  const attention = (name: string, c: number) => {
    layer(own, `${name}.norm`, [c])
    const projection = linear ? [c, c] : [c, c, 1, 1]
    layer(own, `${name}.proj_in`, projection)
    const block = `${name}.transformer_blocks.0`
    for (const [attn, k] of [
      ['attn1', c],
      ['attn2', context],
    ] as const) {
      layer(own, `${block}.${attn}.to_q`, [c, c], false)
      layer(own, `${block}.${attn}.to_k`, [c, k], false)
      layer(own, `${block}.${attn}.to_v`, [c, k], false)
      layer(own, `${block}.${attn}.to_out.0`, [c, c])
    }
    layer(own, `${block}.ff.net.0.proj`, [8 * c, c])
    layer(own, `${block}.ff.net.2`, [c, 4 * c])
    for (const norm of ['norm1', 'norm2', 'norm3']) layer(own, `${block}.${norm}`, [c])
    layer(own, `${name}.proj_out`, projection)
  }
  layer(own, 'time_embed.0', [time, width])
  layer(own, 'time_embed.2', [time, time])
  layer(own, 'input_blocks.0.0', [width, inChannels, 3, 3])
  const skips = [width]
  let c = width
  let block = 1
  const attends = (level: number) => level < mult.length - plainLevels
  for (const [level, factor] of mult.entries()) {
    for (let i = 0; i < 2; i++) {
      resnet(`input_blocks.${block}.0`, c, width * factor)
      c = width * factor
      if (attends(level)) attention(`input_blocks.${block}.1`, c)
      skips.push(c)
      block++
    }
    if (level === mult.length - 1) break
    layer(own, `input_blocks.${block}.0.op`, [c, c, 3, 3])
    skips.push(c)
    block++
  }
  resnet('middle_block.0', c, c)
  attention('middle_block.1', c)
  resnet('middle_block.2', c, c)
  block = 0
  for (const [level, factor] of [...mult.entries()].toReversed())
    for (let i = 0; i <= 2; i++) {
      resnet(`output_blocks.${block}.0`, c + skips.pop()!, width * factor)
      c = width * factor
      if (attends(level)) attention(`output_blocks.${block}.1`, c)
      if (level > 0 && i === 2) layer(own, `output_blocks.${block}.${attends(level) ? 2 : 1}.conv`, [c, c, 3, 3])
      block++
    }
  layer(own, 'out.0', [width])
  layer(own, 'out.2', [4, width, 3, 3])
  return own
}

/** model.py: Encoder, Decoder; autoencoder.py: AutoencoderKL. */
export function ldmVae(width = 128, mult: readonly number[] = [1, 2, 4, 4]): Shapes {
  const own: Shapes = new Map()
  const resnet = (name: string, from: number, to: number) => {
    layer(own, `${name}.norm1`, [from])
    layer(own, `${name}.conv1`, [to, from, 3, 3])
    layer(own, `${name}.norm2`, [to])
    layer(own, `${name}.conv2`, [to, to, 3, 3])
    if (from !== to) layer(own, `${name}.nin_shortcut`, [to, from, 1, 1])
  }
  const middle = (name: string, c: number) => {
    resnet(`${name}.block_1`, c, c)
    layer(own, `${name}.attn_1.norm`, [c])
    for (const each of ['q', 'k', 'v', 'proj_out']) layer(own, `${name}.attn_1.${each}`, [c, c, 1, 1])
    resnet(`${name}.block_2`, c, c)
  }
  let c = width
  layer(own, 'encoder.conv_in', [c, 3, 3, 3])
  for (const [level, factor] of mult.entries()) {
    for (let i = 0; i < 2; i++) {
      resnet(`encoder.down.${level}.block.${i}`, c, width * factor)
      c = width * factor
    }
    if (level < mult.length - 1) layer(own, `encoder.down.${level}.downsample.conv`, [c, c, 3, 3])
  }
  middle('encoder.mid', c)
  layer(own, 'encoder.norm_out', [c])
  layer(own, 'encoder.conv_out', [8, c, 3, 3])
  layer(own, 'quant_conv', [8, 8, 1, 1])
  layer(own, 'post_quant_conv', [4, 4, 1, 1])
  layer(own, 'decoder.conv_in', [c, 4, 3, 3])
  middle('decoder.mid', c)
  for (const [level, factor] of [...mult.entries()].toReversed()) {
    for (let i = 0; i <= 2; i++) {
      resnet(`decoder.up.${level}.block.${i}`, c, width * factor)
      c = width * factor
    }
    if (level > 0) layer(own, `decoder.up.${level}.upsample.conv`, [c, c, 3, 3])
  }
  layer(own, 'decoder.norm_out', [c])
  layer(own, 'decoder.conv_out', [3, c, 3, 3])
  return own
}

/** transformers' CLIPTextModel, CLIP ViT-L/14's text tower. */
export function clipKeys(c = 768, layers = 12): Shapes {
  const own: Shapes = new Map([['text_model.embeddings.position_ids', [1, 77]]])
  layer(own, 'text_model.embeddings.token_embedding', [49408, c], false)
  layer(own, 'text_model.embeddings.position_embedding', [77, c], false)
  for (let i = 0; i < layers; i++) {
    const name = `text_model.encoder.layers.${i}`
    for (const each of ['k_proj', 'v_proj', 'q_proj', 'out_proj']) layer(own, `${name}.self_attn.${each}`, [c, c])
    layer(own, `${name}.layer_norm1`, [c])
    layer(own, `${name}.mlp.fc1`, [4 * c, c])
    layer(own, `${name}.mlp.fc2`, [c, 4 * c])
    layer(own, `${name}.layer_norm2`, [c])
  }
  layer(own, 'text_model.final_layer_norm', [c])
  return own
}

/** OpenCLIP ViT-H/14's text tower: 24 layers, of which SD 2.x uses 23. */
export function openClipKeys(c = 1024, layers = 24): Shapes {
  const own: Shapes = new Map([
    ['positional_embedding', [77, c]],
    ['text_projection', [c, c]],
    ['logit_scale', []],
  ])
  layer(own, 'token_embedding', [49408, c], false)
  for (let i = 0; i < layers; i++) {
    const name = `transformer.resblocks.${i}`
    layer(own, `${name}.ln_1`, [c])
    own.set(`${name}.attn.in_proj_weight`, [3 * c, c])
    own.set(`${name}.attn.in_proj_bias`, [3 * c])
    layer(own, `${name}.attn.out_proj`, [c, c])
    layer(own, `${name}.ln_2`, [c])
    layer(own, `${name}.mlp.c_fc`, [4 * c, c])
    layer(own, `${name}.mlp.c_proj`, [c, 4 * c])
  }
  layer(own, 'ln_final', [c])
  return own
}

/** A whole checkpoint: its parts under their prefixes, and what training left beside them. */
export function checkpoint(parts: Readonly<Record<string, Shapes>>): Shapes {
  const all: Shapes = new Map([
    ['betas', [1000]],
    ['alphas_cumprod', [1000]],
    ['model_ema.decay', []],
    ['model_ema.diffusion_modelinput_blocks00weight', [320, 4, 3, 3]],
  ])
  for (const [prefix, shapes] of Object.entries(parts))
    for (const [name, shape] of shapes) all.set(`${prefix}${name}`, shape)
  return all
}
