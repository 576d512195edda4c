// The tensors of a checkpoint in one file, with the names of the original code (CompVis, Stability AI: "LDM"), under diffusers'
// names. What belongs where follows from which tensors there are, so that models of any depth are read without a config
// (diffusers has the same names as tables: loaders/single_file_utils.py).
import { PhospheneError } from '../error.ts'
import { type ViewOf, viewed, type WeightSource } from './source.ts'

export const ldmComponents = ['unet', 'vae', 'text_encoder'] as const
export type LdmComponent = (typeof ldmComponents)[number]

const prefixes = {
  unet: 'model.diffusion_model.',
  vae: 'first_stage_model.',
  clip: 'cond_stage_model.transformer.',
  openClip: 'cond_stage_model.model.',
} as const

/** Whether the tensors are those of such a checkpoint. */
export function isLdm({ tensors }: Pick<WeightSource, 'tensors'>): boolean {
  return [...tensors.keys()].some((name) => name.startsWith(prefixes.unet))
}

/**
 * The tensors of one component under diffusers' names; what training left beside them is dropped. Raises 'weights/missing-key' where
 * there are none.
 */
export function ldmComponent(source: WeightSource, component: LdmComponent): WeightSource {
  const names = [...source.tensors.keys()]
  const openClip = names.some((name) => name.startsWith(prefixes.openClip))
  const prefix = component === 'text_encoder' ? (openClip ? prefixes.openClip : prefixes.clip) : prefixes[component]
  const own = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  if (own.length === 0)
    throw new PhospheneError({
      code: 'weights/missing-key',
      message: `${source.label} has no tensor that begins with ${prefix}: it holds no ${component}`,
      fix:
        component === 'vae'
          ? 'Name a VAE of its own (--vae), or use a checkpoint that holds one.'
          : 'Use a checkpoint of the whole model.',
    })
  const rename = renamings[component](own)
  const views = own.flatMap((name): (readonly [string, ViewOf])[] => {
    const { shape } = source.tensors.get(prefix + name)!
    if (component === 'text_encoder' && openClip) return openClipViews(name, prefix + name, shape)
    const view = rename(name)
    return view === undefined ? [] : [[view, { of: prefix + name, shape }]]
  })
  return viewed(source, views)
}

/**
 * A VAE in a file of its own: with LDM's names, with or without a prefix, or with diffusers' already. Raises 'weights/missing-key'
 * where there is none in it.
 */
export function vaeFile(source: WeightSource): WeightSource {
  const names = [...source.tensors.keys()]
  const prefix = [prefixes.vae, 'vae.'].find((each) => names.some((name) => name.startsWith(each))) ?? ''
  const own = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  if (own.some((name) => name.startsWith('decoder.up_blocks.'))) {
    const plain = own.map(
      (name) => [name, { of: prefix + name, shape: source.tensors.get(prefix + name)!.shape }] as const,
    )
    return viewed(source, plain)
  }
  if (!own.includes('decoder.conv_in.weight'))
    throw new PhospheneError({
      code: 'weights/missing-key',
      message: `${source.label} holds no VAE: it has no decoder.conv_in.weight, with or without a prefix`,
      fix: "Use the .safetensors file of an AutoencoderKL, with the original names or diffusers'.",
    })
  const rename = renamings.vae(own)
  const views = own.flatMap((name): (readonly [string, ViewOf])[] => {
    const view = rename(name)
    const { shape } = source.tensors.get(prefix + name)!
    return view === undefined ? [] : [[view, { of: prefix + name, shape }]]
  })
  return viewed(source, views)
}

type Rename = (name: string) => string | undefined

const renamings: Readonly<Record<LdmComponent, (names: readonly string[]) => Rename>> = {
  unet: unetNames,
  vae: vaeNames,
  text_encoder: () => (name) => {
    if (name.endsWith('.position_ids')) return undefined
    return name.startsWith('text_model.') ? name : `text_model.${name}`
  },
}

const resnetOfUnet: readonly (readonly [string, string])[] = [
  ['in_layers.0.', 'norm1.'],
  ['in_layers.2.', 'conv1.'],
  ['emb_layers.1.', 'time_emb_proj.'],
  ['out_layers.0.', 'norm2.'],
  ['out_layers.3.', 'conv2.'],
  ['skip_connection.', 'conv_shortcut.'],
]

/** The first pair whose left side begins the name, applied. */
function replaced(name: string, pairs: readonly (readonly [string, string])[]): string | undefined {
  const pair = pairs.find(([from]) => name.startsWith(from))
  return pair && pair[1] + name.slice(pair[0].length)
}

/**
 * input_blocks.1 … are residual blocks, each with attention or without, and downsamplers between the levels; output_blocks.0 … the
 * same with an upsampler as the last part of a level's last block.
 */
function unetNames(names: readonly string[]): Rename {
  const present = new Set(names)
  const has = (start: string) => names.some((name) => name.startsWith(start))
  const modules: (readonly [string, string])[] = [
    ['time_embed.0.', 'time_embedding.linear_1.'],
    ['time_embed.2.', 'time_embedding.linear_2.'],
    ['label_emb.0.0.', 'add_embedding.linear_1.'],
    ['label_emb.0.2.', 'add_embedding.linear_2.'],
    ['input_blocks.0.0.', 'conv_in.'],
    ['out.0.', 'conv_norm_out.'],
    ['out.2.', 'conv_out.'],
    ['middle_block.1.', 'mid_block.attentions.0.'],
  ]
  const resnets: (readonly [string, string])[] = [
    ['middle_block.0.', 'mid_block.resnets.0.'],
    ['middle_block.2.', 'mid_block.resnets.1.'],
  ]
  for (let i = 1, level = 0, at = 0; has(`input_blocks.${i}.`); i++) {
    if (present.has(`input_blocks.${i}.0.op.weight`)) {
      modules.push([`input_blocks.${i}.0.op.`, `down_blocks.${level}.downsamplers.0.conv.`])
      level++
      at = 0
      continue
    }
    resnets.push([`input_blocks.${i}.0.`, `down_blocks.${level}.resnets.${at}.`])
    modules.push([`input_blocks.${i}.1.`, `down_blocks.${level}.attentions.${at}.`])
    at++
  }
  for (let i = 0, level = 0, at = 0; has(`output_blocks.${i}.`); i++) {
    resnets.push([`output_blocks.${i}.0.`, `up_blocks.${level}.resnets.${at}.`])
    const upsampler = [1, 2].find((part) => present.has(`output_blocks.${i}.${part}.conv.weight`))
    if (upsampler !== undefined)
      modules.push([`output_blocks.${i}.${upsampler}.conv.`, `up_blocks.${level}.upsamplers.0.conv.`])
    if (upsampler !== 1) modules.push([`output_blocks.${i}.1.`, `up_blocks.${level}.attentions.${at}.`])
    at++
    if (upsampler === undefined) continue
    level++
    at = 0
  }
  return (name) => {
    const block = resnets.find(([from]) => name.startsWith(from))
    if (!block) return replaced(name, modules)
    const inner = replaced(name.slice(block[0].length), resnetOfUnet)
    return inner && block[1] + inner
  }
}

const attentionOfVae: readonly (readonly [string, string])[] = [
  ['norm.', 'group_norm.'],
  ['q.', 'to_q.'],
  ['k.', 'to_k.'],
  ['v.', 'to_v.'],
  ['proj_out.', 'to_out.0.'],
]

/** The decoder's levels are numbered from the picture inwards; diffusers counts in the order of execution. */
function vaeNames(names: readonly string[]): Rename {
  const levels = Math.max(-1, ...names.map((name) => Number(/^decoder\.up\.(\d+)\./.exec(name)?.[1] ?? -1)))
  const level = (coder: string, at: string) =>
    coder === 'encoder' ? `encoder.down_blocks.${at}` : `decoder.up_blocks.${levels - Number(at)}`
  return (name) => {
    const block = /^(encoder\.down|decoder\.up)\.(\d+)\.block\.(\d+)\.(.*)$/.exec(name)
    if (block) {
      const [, coder, at, resnet, rest] = block as unknown as [string, string, string, string, string]
      return `${level(coder.split('.')[0]!, at)}.resnets.${resnet}.${rest.replace('nin_shortcut', 'conv_shortcut')}`
    }
    const sampler = /^(encoder\.down|decoder\.up)\.(\d+)\.(down|up)sample\.(.*)$/.exec(name)
    if (sampler) {
      const [, coder, at, way, rest] = sampler as unknown as [string, string, string, string, string]
      return `${level(coder.split('.')[0]!, at)}.${way}samplers.0.${rest}`
    }
    const middle = /^(encoder|decoder)\.mid\.(block|attn)_(\d)\.(.*)$/.exec(name)
    if (middle) {
      const [, coder, kind, at, rest] = middle as unknown as [string, string, string, string, string]
      if (kind === 'block') return `${coder}.mid_block.resnets.${Number(at) - 1}.${rest}`
      const inner = replaced(rest, attentionOfVae)
      return inner && `${coder}.mid_block.attentions.0.${inner}`
    }
    if (/^(post_)?quant_conv\.|^(encoder|decoder)\.conv_(in|out)\./.test(name)) return name
    return /^(encoder|decoder)\.norm_out\./.test(name) ? name.replace('norm_out', 'conv_norm_out') : undefined
  }
}

const openClipModules: readonly (readonly [string, string])[] = [
  ['token_embedding.', 'text_model.embeddings.token_embedding.'],
  ['ln_final.', 'text_model.final_layer_norm.'],
]
const openClipLayer: readonly (readonly [string, string])[] = [
  ['ln_1.', 'layer_norm1.'],
  ['ln_2.', 'layer_norm2.'],
  ['mlp.c_fc.', 'mlp.fc1.'],
  ['mlp.c_proj.', 'mlp.fc2.'],
  ['attn.out_proj.', 'self_attn.out_proj.'],
]

/**
 * OpenCLIP's text tower, as SD 2.x has it: queries, keys and values in one matrix, which three views share. Its last layer (of 24) and
 * its projection are not used by the model; a graph of 23 layers does not ask for them.
 */
function openClipViews(name: string, of: string, shape: readonly number[]): (readonly [string, ViewOf])[] {
  if (name === 'positional_embedding') return [['text_model.embeddings.position_embedding.weight', { of, shape }]]
  const layer = /^transformer\.resblocks\.(\d+)\.(.*)$/.exec(name)
  if (!layer) {
    const view = replaced(name, openClipModules)
    return view === undefined ? [] : [[view, { of, shape }]]
  }
  const [, at, rest] = layer as unknown as [string, string, string]
  const place = `text_model.encoder.layers.${at}`
  const joint = /^attn\.in_proj_(weight|bias)$/.exec(rest)
  if (joint) {
    const rows = shape[0]! / 3
    return ['q', 'k', 'v'].map((each, i) => [
      `${place}.self_attn.${each}_proj.${joint[1]}`,
      { of, shape: [rows, ...shape.slice(1)], firstRow: i * rows },
    ])
  }
  const inner = replaced(rest, openClipLayer)
  return inner === undefined ? [] : [[`${place}.${inner}`, { of, shape }]]
}
