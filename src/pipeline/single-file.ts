// A checkpoint in one file seen as a diffusers folder: weights under diffusers' names, and the configs, scheduler and tokenizer that
// such files lack, by the kind of model that its tensors tell.
import { PhospheneError } from '../error.ts'
import { type Architecture, architectures } from '../models/architectures.ts'
import type { PredictionType } from '../sampling/config.ts'
import { clipVocabulary } from '../text/clip-vocabulary.ts'
import type { ByteSource } from '../weights/byte-source.ts'
import { isLdm, ldmComponent, ldmComponents, vaeFile } from '../weights/ldm-names.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { openSafetensors } from '../weights/safetensors.ts'
import { viewOrClose, type WeightSource } from '../weights/source.ts'

export interface SingleFileOptions {
  /** A diffusers folder whose configs, scheduler and tokenizer are used instead of those of the kind; its weights are not. */
  readonly config?: ModelFiles | undefined
  /** A VAE in a file of its own, instead of the one in the checkpoint. */
  readonly vae?: (() => Promise<ByteSource>) | undefined
  /** CLIP's merges.txt, for files without `config`. */
  readonly merges: () => Promise<string>
}

/** Whether a path or address names a checkpoint in one file rather than a folder. */
export const isSingleFile = (path: string) => /\.safetensors([?#].*)?$/i.test(path)

interface Kind {
  readonly architecture: Architecture
  readonly scheduler: object
  readonly padToken: string
}

const trained = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  steps_offset: 1,
}

/** Whether SD 2.x predicts noise or velocity cannot be told from tensors: 2.1's larger model, which does the latter, is assumed. */
const kinds = {
  sd1: {
    architecture: architectures.sd15,
    scheduler: { ...trained, _class_name: 'PNDMScheduler', skip_prk_steps: true, prediction_type: 'epsilon' },
    padToken: '<|endoftext|>',
  },
  sd2: {
    architecture: architectures.sd21,
    scheduler: {
      ...trained,
      _class_name: 'DDIMScheduler',
      clip_sample: false,
      prediction_type: 'v_prediction' satisfies PredictionType,
    },
    padToken: '!',
  },
} as const satisfies Readonly<Record<string, Kind>>

/**
 * The model in a .safetensors file with the names of the original code. Its kind is found when the first file is asked for; raises
 * 'model/unsupported' then, where it is none of Stable Diffusion 1.x or 2.x, and what openSafetensors raises.
 * @param open opens the file; asked again for each component
 */
export function singleFile(
  label: string,
  open: () => Promise<ByteSource>,
  { config, vae, merges }: SingleFileOptions,
): ModelFiles {
  let known: Promise<ReadonlyMap<string, () => string | Promise<string>>> | undefined
  const texts = () => {
    known ??= virtualTexts(label, open, merges)
    return known
  }
  return {
    label,
    async exists(path) {
      return config ? config.exists(path) : (await texts()).has(path)
    },
    async text(path) {
      if (config) return config.text(path)
      const text = (await texts()).get(path)
      if (!text) throw absent(label, path)
      return text()
    },
    async open(path) {
      throw absent(label, path)
    },
    async weights(component) {
      const wanted = ldmComponents.find((each) => each === component)
      if (!wanted) throw absent(label, component)
      if (wanted === 'vae' && vae) return viewOrClose(await openSafetensors(await vae()), vaeFile)
      return viewOrClose(await openSafetensors(await open()), (source) => ldmComponent(source, wanted))
    },
  }
}

async function virtualTexts(label: string, open: () => Promise<ByteSource>, merges: () => Promise<string>) {
  const source = await openSafetensors(await open())
  await source.close()
  const { architecture, scheduler, padToken } = kindOf(label, source)
  const inChannels = source.tensors.get(convIn)?.shape[1]
  const unet = { ...architecture.configs.unet, in_channels: inChannels }
  const json = (value: unknown) => () => JSON.stringify(value)
  const tokens = { bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', pad_token: padToken, model_max_length: 77 }
  return new Map<string, () => string | Promise<string>>([
    ['model_index.json', json(indexOf(architecture, inChannels))],
    ['unet/config.json', json(unet)],
    ['vae/config.json', json(architecture.configs.vae)],
    ['text_encoder/config.json', json(architecture.configs.text_encoder)],
    ['scheduler/scheduler_config.json', json(scheduler)],
    ['tokenizer/tokenizer_config.json', json(tokens)],
    ['tokenizer/vocab.json', async () => JSON.stringify(clipVocabulary(await merges()))],
    ['tokenizer/merges.txt', merges],
  ])
}

const convIn = 'model.diffusion_model.input_blocks.0.0.weight'
const textKeys = 'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight'

/** Nine channels go in where mask and masked picture do. */
function indexOf({ index }: Architecture, inChannels: number | undefined): object {
  return inChannels === 9 ? { ...index, _class_name: 'StableDiffusionInpaintPipeline' } : index
}

/** By the width of the text that the first attention reads (diffusers: infer_diffusers_model_type). */
function kindOf(label: string, source: WeightSource): Kind {
  const { tensors } = source
  if (!isLdm(source)) throw unsupported(label, `its tensors are ${[...tensors.keys()].slice(0, 3).join(', ')} …`)
  if ([...tensors.keys()].some((name) => name.startsWith('conditioner.')))
    throw unsupported(label, 'it is a Stable Diffusion XL checkpoint')
  const [channels, width] = [tensors.get(convIn)?.shape[0], tensors.get(textKeys)?.shape[1]]
  if (channels === 320 && width === 768) return kinds.sd1
  if (channels === 320 && width === 1024) return kinds.sd2
  throw unsupported(label, `its UNet begins with ${channels} channels and reads text of width ${width}`)
}

function unsupported(label: string, found: string): PhospheneError {
  return new PhospheneError({
    code: 'model/unsupported',
    message: `${label} is no checkpoint of Stable Diffusion 1.x or 2.x: ${found}`,
    fix: 'Name a diffusers folder with its configs (--config), or use a checkpoint of those families.',
  })
}

function absent(label: string, path: string): PhospheneError {
  return new PhospheneError({
    code: 'model/not-found',
    message: `${label} is one file: there is no ${path} in it`,
    fix: 'Name a diffusers folder that has it (--config).',
  })
}
