// From model_index.json to typed parts: which components a pipeline class has, and the graph builders of each.
// A new family of models is a new record here; reading files and running graphs belong to the pipeline.
import * as v from 'valibot'
import type { Graph } from '../graph/graph.ts'
import {
  type AutoencoderKLConfig,
  autoencoderKLDecoder,
  autoencoderKLEncoder,
  type PlaneOptions,
  parseAutoencoderKLConfig,
  pixelsPerLatent,
} from './autoencoder-kl.ts'
import { type ClipTextConfig, clipText, type HiddenState, parseClipTextConfig } from './clip-text.ts'
import { parseConfig, unsupported } from './config.ts'
import { timestepInput, type UNetOptions, unet2DCondition } from './unet-2d-condition.ts'
import { parseUNetConfig, type UNetConfig } from './unet-config.ts'

export interface TextEncoder {
  /** Folder of its config and weights. */
  readonly folder: string
  /** Folder of the tokenizer that makes its ids. */
  readonly tokenizer: string
  readonly config: ClipTextConfig
  readonly tokens: number
  /**
   * Input `input_ids` [batch, tokens]; output `hidden` [batch, tokens, c], and `pooled` [batch, tokens, c] where the model uses
   * it: its row at `pooledRows`. `clipSkip` leaves out that many more layers, as diffusers counts.
   */
  graph(options: { readonly batch: number; readonly clipSkip?: number }): Graph
}

export interface Denoiser {
  readonly folder: string
  readonly config: UNetConfig
  readonly latentChannels: number
  /** More than `latentChannels` in inpainting models: mask and masked picture come in beside the latents. */
  readonly inChannels: number
  /** Height and width of the latents that it was trained on, where the config says so. */
  readonly sampleSize: readonly [number, number] | undefined
  /** Those inputs of the graph that stay the same for all steps of a picture. */
  readonly heldInputs: readonly string[]
  /** Inputs `sample`, `timestep`, `encoder_hidden_states` (SDXL: `text_embeds`, `time_ids`), output `out`. */
  graph(options: UNetOptions): Graph
  /** The values of input `timestep`, a row for each timestep. */
  timestepInput(timesteps: readonly number[]): Float32Array
}

export interface Autoencoder {
  readonly folder: string
  readonly config: AutoencoderKLConfig
  readonly latentChannels: number
  /** Pixels along one side of a latent cell. */
  readonly pixelsPerLatent: number
  /** latents = (encoded − shiftFactor) · scalingFactor. */
  readonly scalingFactor: number
  readonly shiftFactor: number
  /** Input `latents`, output `sample`. */
  decoder(options: PlaneOptions): Graph
  /** Input `sample`, outputs `mean` and `logvar`. */
  encoder(options: PlaneOptions): Graph
}

export interface LatentDiffusion {
  readonly className: PipelineClass
  /** Their hidden states stand side by side along the channels; the last one's pooled state is `text_embeds`. */
  readonly textEncoders: readonly TextEncoder[]
  readonly denoiser: Denoiser
  readonly autoencoder: Autoencoder
}

/** What sets families of CLIP + UNet + AutoencoderKL apart: their text encoders and what is taken from them. */
interface Family {
  readonly textEncoders: readonly {
    readonly folder: string
    readonly tokenizer: string
    readonly className: string
    readonly hidden: HiddenState
    readonly pooled?: HiddenState
  }[]
}

const stableDiffusion: Family = {
  textEncoders: [
    { folder: 'text_encoder', tokenizer: 'tokenizer', className: 'CLIPTextModel', hidden: { skip: 0, norm: true } },
  ],
}

const stableDiffusionXL: Family = {
  textEncoders: [
    { folder: 'text_encoder', tokenizer: 'tokenizer', className: 'CLIPTextModel', hidden: { skip: 1, norm: false } },
    {
      folder: 'text_encoder_2',
      tokenizer: 'tokenizer_2',
      className: 'CLIPTextModelWithProjection',
      hidden: { skip: 1, norm: false },
      pooled: { skip: 0, norm: true, projection: true },
    },
  ],
}

const families = {
  StableDiffusionPipeline: stableDiffusion,
  StableDiffusionImg2ImgPipeline: stableDiffusion,
  StableDiffusionInpaintPipeline: stableDiffusion,
  StableDiffusionXLPipeline: stableDiffusionXL,
  StableDiffusionXLImg2ImgPipeline: stableDiffusionXL,
  StableDiffusionXLInpaintPipeline: stableDiffusionXL,
} as const satisfies Record<string, Family>

/** The `_class_name`s of model_index.json that the engine knows. */
export type PipelineClass = keyof typeof families

export const pipelineClasses = Object.keys(families) as PipelineClass[]

const component = v.tuple([v.nullable(v.string()), v.nullable(v.string())])

/** A model folder, as far as its configs go. */
export interface ModelConfigs {
  /** The parsed model_index.json. */
  readonly index: unknown
  /** Of `index`, for messages. */
  readonly file: string
  /** The parsed config.json of a component, and its path for messages. */
  config(folder: string): Promise<{ readonly json: unknown; readonly file: string }>
}

/**
 * The model's parts, with configs checked.
 * Raises 'model/unsupported' for families, components and config values that the engine cannot run, 'model/config' for broken files.
 */
export async function latentDiffusion(source: ModelConfigs): Promise<LatentDiffusion> {
  const { _class_name: className } = parseConfig(
    v.object({ _class_name: v.picklist(pipelineClasses) }),
    source.index,
    source.file,
  )
  const family: Family = families[className]
  const read = async (folder: string, expected: string) => {
    const index = parseConfig(v.object({ [folder]: component }), source.index, source.file)
    const found = index[folder]?.[1]
    if (found !== expected) throw unsupported(source.file, folder, String(found), expected)
    return source.config(folder)
  }

  const textEncoders: TextEncoder[] = []
  for (const each of family.textEncoders) {
    const { json, file } = await read(each.folder, each.className)
    textEncoders.push(textEncoder(each, parseClipTextConfig(json, file)))
  }
  const unet = await read('unet', 'UNet2DConditionModel')
  const vae = await read('vae', 'AutoencoderKL')
  return {
    className,
    textEncoders,
    denoiser: denoiser('unet', parseUNetConfig(unet.json, unet.file)),
    autoencoder: autoencoder('vae', parseAutoencoderKLConfig(vae.json, vae.file)),
  }
}

function textEncoder(part: Family['textEncoders'][number], config: ClipTextConfig): TextEncoder {
  const { folder, tokenizer, hidden, pooled } = part
  return {
    folder,
    tokenizer,
    config,
    tokens: config.max_position_embeddings,
    graph: ({ batch, clipSkip = 0 }) =>
      clipText(config, {
        batch,
        outputs: { hidden: { ...hidden, skip: hidden.skip + clipSkip }, ...(pooled ? { pooled } : {}) },
      }),
  }
}

function denoiser(folder: string, config: UNetConfig): Denoiser {
  const size = config.sample_size ?? undefined
  return {
    folder,
    config,
    latentChannels: config.out_channels,
    inChannels: config.in_channels,
    sampleSize: typeof size === 'number' ? [size, size] : size && [size[0]!, size[1] ?? size[0]!],
    heldInputs: ['encoder_hidden_states', 'text_embeds', 'time_ids'],
    graph: (options) => unet2DCondition(config, options),
    timestepInput: (timesteps) => timestepInput(config, timesteps),
  }
}

function autoencoder(folder: string, config: AutoencoderKLConfig): Autoencoder {
  return {
    folder,
    config,
    latentChannels: config.latent_channels,
    pixelsPerLatent: pixelsPerLatent(config),
    scalingFactor: config.scaling_factor,
    shiftFactor: config.shift_factor,
    decoder: (options) => autoencoderKLDecoder(config, options),
    encoder: (options) => autoencoderKLEncoder(config, options),
  }
}
