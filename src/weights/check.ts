// Whether a weight source holds what a model's graph asks for, before anything is read.
import { PhospheneError } from '../error.ts'
import type { FileDType } from '../tensor/dtype.ts'
import type { TensorInfo, WeightSource } from './source.ts'

export interface WantedParam {
  /** Key in the state dict. */
  readonly name: string
  readonly shape: readonly number[]
}

/** So many names are listed; the count says the rest. */
const listed = 20

/** What published files carry beside the weights: counters, schedules and copies that no inference needs. */
const noise =
  /(^|\.)(position_ids|num_batches_tracked|logit_scale)$|^model_ema\.|^(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_\w+|posterior_\w+|lvlb_weights|scale_factor)$/

const floats: ReadonlySet<FileDType> = new Set<FileDType>(['F64', 'F32', 'F16', 'BF16'])

/**
 * The names of tensors that nobody wants, for a warning (known noise left out).
 * Raises 'weights/missing-key' with all that is missing, 'weights/shape' or 'weights/dtype' with both values.
 * @param params all graphs of the component together: the decoder's and the encoder's of a VAE, say
 */
export function checkParams(params: Iterable<WantedParam>, source: Pick<WeightSource, 'label' | 'tensors'>): string[] {
  const wanted = new Map<string, WantedParam>()
  for (const param of params) wanted.set(param.name, param)

  const missing = [...wanted.keys()].filter((name) => !source.tensors.has(name))
  if (missing.length > 0)
    throw new PhospheneError({
      code: 'weights/missing-key',
      message: `${source.label} lacks ${missing.length} of ${wanted.size} tensors: ${list(missing)}`,
      fix: 'Use the weights that belong to this config.json; `phosphene inspect` shows what the model needs.',
    })

  const pairs = [...wanted.values()].map((param) => ({ param, tensor: source.tensors.get(param.name)! }))
  const misshapen = pairs.filter(({ param, tensor }) => String(param.shape) !== String(tensor.shape))
  if (misshapen.length > 0)
    throw new PhospheneError({
      code: 'weights/shape',
      message: `${source.label}: ${list(misshapen.map(({ param, tensor }) => disagreement(param, tensor)))}`,
      fix: 'The weights belong to another config.json, or to another model family; use those of this one.',
    })

  const odd = pairs.filter(({ tensor }) => !floats.has(tensor.dtype))
  if (odd.length > 0)
    throw new PhospheneError({
      code: 'weights/dtype',
      message: `${source.label}: ${list(odd.map(({ tensor }) => `${tensor.name} is ${tensor.dtype}, not a float type`))}`,
      fix: 'Use a checkpoint whose weights are F32, F16 or BF16.',
    })

  return [...source.tensors.keys()].filter((name) => !wanted.has(name) && !noise.test(name))
}

function disagreement(param: WantedParam, tensor: TensorInfo): string {
  return `${param.name} is [${tensor.shape}] in the file, the model wants [${param.shape}]`
}

function list(items: readonly string[]): string {
  const rest = items.length - listed
  return items.slice(0, listed).join(', ') + (rest > 0 ? ` and ${rest} more` : '')
}
