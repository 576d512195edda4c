// What the model configs take, fill in and refuse.
import { describe, expect, it } from 'vitest'
import { PhospheneError } from '../error.ts'
import { parseAutoencoderKLConfig, pixelsPerLatent } from './autoencoder-kl.ts'
import { parseClipTextConfig } from './clip-text.ts'
import { parseUNetConfig } from './unet-config.ts'

/** `code: message` of what `parse` raises. */
function refusal(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    if (error instanceof PhospheneError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'accepted'
}

describe('defaults of missing keys', () => {
  it('are those of SD 1.5 for the UNet, whose own file leaves them out', () => {
    const config = parseUNetConfig({ cross_attention_dim: 768 }, 'unet/config.json')
    expect(config.blocks).toEqual([
      { channels: 320, layers: 2, transformerLayers: 1, heads: 8, downAttention: true, upAttention: true },
      { channels: 640, layers: 2, transformerLayers: 1, heads: 8, downAttention: true, upAttention: true },
      { channels: 1280, layers: 2, transformerLayers: 1, heads: 8, downAttention: true, upAttention: true },
      { channels: 1280, layers: 2, transformerLayers: 1, heads: 8, downAttention: false, upAttention: false },
    ])
    expect(config.contextChannels).toBe(768)
    expect(config.use_linear_projection).toBe(false)
    expect(config.norm_eps).toBe(1e-5)
  })

  it('are the scaling factor of SD 1.x and both 1×1 convolutions for the autoencoder', () => {
    const config = parseAutoencoderKLConfig({}, 'vae/config.json')
    expect(config.scaling_factor).toBe(0.18215)
    expect([config.use_quant_conv, config.use_post_quant_conv]).toEqual([true, true])
    expect(pixelsPerLatent(config)).toBe(1)
  })

  it('hold for null as for absence', () => {
    const config = parseUNetConfig({ upcast_attention: null, dual_cross_attention: null, num_class_embeds: null }, 'f')
    expect(config.dual_cross_attention).toBe(false)
    expect(parseAutoencoderKLConfig({ scaling_factor: null, shift_factor: null }, 'f').shift_factor).toBe(0)
  })
})

describe('lists', () => {
  it('give each block its own heads and layers, counted from the first resolution', () => {
    const config = parseUNetConfig(
      {
        block_out_channels: [320, 640, 1280],
        down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
        up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
        attention_head_dim: [5, 10, 20],
        transformer_layers_per_block: [1, 2, 10],
        layers_per_block: 2,
      },
      'f',
    )
    expect(
      config.blocks.map((block) => [block.heads, block.transformerLayers, block.downAttention, block.upAttention]),
    ).toEqual([
      [5, 1, false, false],
      [10, 2, true, true],
      [20, 10, true, true],
    ])
  })
})

describe('refusals', () => {
  it.each<[string, object, string]>([
    [
      'an unknown block',
      { down_block_types: ['AttnDownBlock2D'] },
      'model/unsupported: unet/config.json: down_block_types.0 is "AttnDownBlock2D"; supported: ("CrossAttnDownBlock2D" | "DownBlock2D")',
    ],
    [
      'a feature that is not built',
      { class_embed_type: 'timestep' },
      'model/unsupported: unet/config.json: class_embed_type is "timestep"; supported: null',
    ],
    [
      'a value that is not built',
      { resnet_time_scale_shift: 'scale_shift' },
      'model/unsupported: unet/config.json: resnet_time_scale_shift is "scale_shift"; supported: "default"',
    ],
    [
      'the key that diffusers refuses too',
      { num_attention_heads: 8 },
      'model/unsupported: unet/config.json: num_attention_heads is 8; supported: null',
    ],
    [
      'a wrong type',
      { in_channels: '4' },
      'model/config: unet/config.json: in_channels is "4": Invalid type: Expected number but received "4"',
    ],
    [
      'lists of unequal length',
      { attention_head_dim: [5, 10] },
      'model/config: unet/config.json: attention_head_dim is [5,10]: block_out_channels has 4 blocks',
    ],
    [
      'heads that do not divide',
      { attention_head_dim: 7 },
      'model/config: unet/config.json: attention_head_dim is 7: 7 heads do not divide 320 channels',
    ],
    [
      'groups that do not divide',
      { norm_num_groups: 30 },
      'model/config: unet/config.json: norm_num_groups is 30: it does not divide block_out_channels[0] = 320',
    ],
    [
      'text_time without its sizes',
      { addition_embed_type: 'text_time' },
      'model/config: unet/config.json: addition_embed_type is "text_time": addition_time_embed_dim and projection_class_embeddings_input_dim must be given',
    ],
  ])('of %s name key, value and file (UNet)', (_, json, message) => {
    expect(refusal(() => parseUNetConfig(json, 'unet/config.json'))).toBe(message)
  })

  it('reach the text encoder and the autoencoder', () => {
    expect(refusal(() => parseClipTextConfig({ hidden_act: 'relu' }, 'text_encoder/config.json'))).toBe(
      'model/unsupported: text_encoder/config.json: hidden_act is "relu"; supported: ("quick_gelu" | "gelu")',
    )
    expect(refusal(() => parseClipTextConfig({ num_attention_heads: 7 }, 'text_encoder/config.json'))).toBe(
      'model/config: text_encoder/config.json: num_attention_heads is 7: it does not divide hidden_size 512',
    )
    expect(refusal(() => parseAutoencoderKLConfig({ mid_block_add_attention: false }, 'vae/config.json'))).toBe(
      'model/unsupported: vae/config.json: mid_block_add_attention is false; supported: true',
    )
    expect(refusal(() => parseAutoencoderKLConfig({ block_out_channels: [64, 128] }, 'vae/config.json'))).toBe(
      'model/config: vae/config.json: down_block_types is ["DownEncoderBlock2D"]: block_out_channels has 2 blocks',
    )
  })

  it('say so when the file is no object', () => {
    expect(refusal(() => parseUNetConfig([], 'f'))).toBe(
      'model/config: f: (the whole file) is a list: expected an object',
    )
    expect(refusal(() => parseUNetConfig(null, 'f'))).toMatch(/^model\/config: f: \(the whole file\) is null: /)
  })
})
