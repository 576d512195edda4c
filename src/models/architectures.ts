// The configs of well-known models: what their folders say of shapes, so that they can be planned without a folder.
// Of Hugging Face's stable-diffusion-v1-5, stable-diffusion-2-1 and stable-diffusion-xl-base-1.0, keys that graphs depend on.

export interface Architecture {
  /** model_index.json. */
  readonly index: Readonly<Record<string, unknown>>
  /** config.json by folder. */
  readonly configs: Readonly<Record<string, object>>
}

const vae = {
  block_out_channels: [128, 256, 512, 512],
  down_block_types: Array(4).fill('DownEncoderBlock2D'),
  up_block_types: Array(4).fill('UpDecoderBlock2D'),
  layers_per_block: 2,
  latent_channels: 4,
  norm_num_groups: 32,
}

const clipL = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  projection_dim: 768,
}

const stableDiffusion = {
  _class_name: 'StableDiffusionPipeline',
  text_encoder: ['transformers', 'CLIPTextModel'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
}

export const architectures = {
  sd15: {
    index: stableDiffusion,
    configs: { text_encoder: clipL, unet: { cross_attention_dim: 768, sample_size: 64 }, vae },
  },
  sd21: {
    index: stableDiffusion,
    configs: {
      text_encoder: {
        hidden_size: 1024,
        intermediate_size: 4096,
        num_hidden_layers: 23,
        num_attention_heads: 16,
        hidden_act: 'gelu',
      },
      unet: {
        cross_attention_dim: 1024,
        attention_head_dim: [5, 10, 20, 20],
        use_linear_projection: true,
        sample_size: 96,
      },
      vae,
    },
  },
  sdxl: {
    index: {
      ...stableDiffusion,
      _class_name: 'StableDiffusionXLPipeline',
      text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
    },
    configs: {
      text_encoder: clipL,
      text_encoder_2: {
        hidden_size: 1280,
        intermediate_size: 5120,
        num_hidden_layers: 32,
        num_attention_heads: 20,
        hidden_act: 'gelu',
        projection_dim: 1280,
      },
      unet: {
        block_out_channels: [320, 640, 1280],
        down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
        up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
        transformer_layers_per_block: [1, 2, 10],
        attention_head_dim: [5, 10, 20],
        cross_attention_dim: 2048,
        use_linear_projection: true,
        addition_embed_type: 'text_time',
        addition_time_embed_dim: 256,
        projection_class_embeddings_input_dim: 2816,
        sample_size: 128,
      },
      vae,
    },
  },
} as const satisfies Readonly<Record<string, Architecture>>

export type ArchitectureName = keyof typeof architectures
