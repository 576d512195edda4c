// Older names of the same tensors, as views under today's: what published diffusers folders call differently.
import { type Renaming, renamed, type TensorInfo, type WeightSource } from './source.ts'

/** Before diffusers 0.16 the VAE's attention had these names (models/modeling_utils.py: _convert_deprecated_attention_blocks). */
const oldAttention: Readonly<Record<string, string>> = {
  query: 'to_q',
  key: 'to_k',
  value: 'to_v',
  proj_attn: 'to_out.0',
}

const attentionProjection =
  /^(.*\.attentions\.\d+)\.(query|key|value|proj_attn|to_q|to_k|to_v|to_out\.0)\.(weight|bias)$/

/** An AutoencoderKL's tensors under today's names; attention kept as 1×1 convolutions [c, c, 1, 1] becomes linear [c, c]. */
export function vaeNames(source: WeightSource): WeightSource {
  return renamed(source, (tensor) => {
    const match = attentionProjection.exec(tensor.name)
    if (!match) return tensor
    const [, module, projection, kind] = match
    return { name: `${module}.${oldAttention[projection!] ?? projection}.${kind}`, shape: asLinear(tensor.shape) }
  })
}

function asLinear(shape: readonly number[]): readonly number[] {
  return shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape
}

const prefix = 'text_model.'
/** What stands beside the text model, without its prefix, in CLIPTextModelWithProjection and CLIPModel. */
const besideTextModel = /^(text_projection|visual_projection|vision_model|logit_scale)\b/

/** A CLIPTextModel's tensors with the prefix `text_model.`, which transformers 5 no longer writes. */
export function clipTextNames(source: WeightSource): WeightSource {
  const has = [...source.tensors.keys()].some((name) => name.startsWith(prefix))
  return has ? source : renamed(source, withPrefix)
}

function withPrefix(tensor: TensorInfo): Renaming {
  return besideTextModel.test(tensor.name) ? tensor : { name: prefix + tensor.name }
}
