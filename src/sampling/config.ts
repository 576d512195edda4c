// scheduler_config.json: what its keys mean, which keys a scheduler class knows, and diffusers' rule for handing one
// class's config to another.
import { PhospheneError } from '../error.ts'
import { type SchedulerClass, schedulerClasses } from './scheduler-classes.ts'

export type PredictionType = 'epsilon' | 'sample' | 'v_prediction'

/** All keys that any of the classes reads, under diffusers' names. */
export interface SchedulerConfig {
  readonly num_train_timesteps: number
  readonly beta_start: number
  readonly beta_end: number
  readonly beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'sigmoid'
  readonly trained_betas: readonly number[] | null
  readonly prediction_type: PredictionType
  readonly timestep_spacing: 'leading' | 'trailing' | 'linspace'
  readonly steps_offset: number
  readonly rescale_betas_zero_snr: boolean
  readonly set_alpha_to_one: boolean
  readonly clip_sample: boolean
  readonly clip_sample_range: number
  readonly thresholding: boolean
  readonly skip_prk_steps: boolean
  readonly variance_type: string | null
  readonly use_karras_sigmas: boolean
  readonly use_exponential_sigmas: boolean
  readonly use_beta_sigmas: boolean
  readonly use_lu_lambdas: boolean
  readonly use_flow_sigmas: boolean
  readonly final_sigmas_type: 'zero' | 'sigma_min'
  readonly interpolation_type: 'linear' | 'log_linear'
  readonly timestep_type: 'discrete' | 'continuous'
  readonly sigma_min: number | null
  readonly sigma_max: number | null
  readonly solver_order: number
  readonly algorithm_type: 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++' | 'deis'
  readonly solver_type: 'midpoint' | 'heun' | 'logrho' | 'bh1' | 'bh2'
  readonly lower_order_final: boolean
  readonly euler_at_final: boolean
  readonly lambda_min_clipped: number
  readonly predict_x0: boolean
  readonly disable_corrector: readonly number[]
  readonly original_inference_steps: number
  readonly timestep_scaling: number
}

/** A parsed scheduler_config.json, not checked yet. */
export type RawSchedulerConfig = Readonly<Record<string, unknown>>

type Key = keyof SchedulerConfig
type Check<T> = (value: unknown) => value is T

const isNumber: Check<number> = (value): value is number => typeof value === 'number' && !Number.isNaN(value)
const isBoolean: Check<boolean> = (value) => typeof value === 'boolean'
const isNumbers: Check<readonly number[]> = (value): value is readonly number[] =>
  Array.isArray(value) && value.every(isNumber)
const isWhole: Check<number> = (value): value is number => Number.isInteger(value) && (value as number) > 0
const isOffset: Check<number> = (value): value is number => Number.isInteger(value) && (value as number) >= 0
const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value): value is T | null =>
    value === null || check(value)
const oneOf =
  <T extends string>(...names: readonly T[]): Check<T> =>
  (value): value is T =>
    names.includes(value as T)

const checks: { readonly [K in Key]: Check<SchedulerConfig[K]> } = {
  num_train_timesteps: isWhole,
  beta_start: isNumber,
  beta_end: isNumber,
  beta_schedule: oneOf('linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid'),
  trained_betas: orNull(isNumbers),
  prediction_type: oneOf('epsilon', 'sample', 'v_prediction'),
  timestep_spacing: oneOf('leading', 'trailing', 'linspace'),
  steps_offset: isOffset,
  rescale_betas_zero_snr: isBoolean,
  set_alpha_to_one: isBoolean,
  clip_sample: isBoolean,
  clip_sample_range: isNumber,
  thresholding: isBoolean,
  skip_prk_steps: isBoolean,
  variance_type: orNull((value): value is string => typeof value === 'string'),
  use_karras_sigmas: isBoolean,
  use_exponential_sigmas: isBoolean,
  use_beta_sigmas: isBoolean,
  use_lu_lambdas: isBoolean,
  use_flow_sigmas: isBoolean,
  final_sigmas_type: oneOf('zero', 'sigma_min'),
  interpolation_type: oneOf('linear', 'log_linear'),
  timestep_type: oneOf('discrete', 'continuous'),
  sigma_min: orNull(isNumber),
  sigma_max: orNull(isNumber),
  solver_order: isWhole,
  algorithm_type: oneOf('dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++', 'deis'),
  solver_type: oneOf('midpoint', 'heun', 'logrho', 'bh1', 'bh2'),
  lower_order_final: isBoolean,
  euler_at_final: isBoolean,
  lambda_min_clipped: isNumber,
  predict_x0: isBoolean,
  disable_corrector: isNumbers,
  original_inference_steps: isWhole,
  timestep_scaling: isNumber,
}

/** Values under which a key does nothing; what a class that does not know the key gets. */
const neutral: SchedulerConfig = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  prediction_type: 'epsilon',
  timestep_spacing: 'linspace',
  steps_offset: 0,
  rescale_betas_zero_snr: false,
  set_alpha_to_one: true,
  clip_sample: false,
  clip_sample_range: 1,
  thresholding: false,
  skip_prk_steps: false,
  variance_type: null,
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_lu_lambdas: false,
  use_flow_sigmas: false,
  final_sigmas_type: 'zero',
  interpolation_type: 'linear',
  timestep_type: 'discrete',
  sigma_min: null,
  sigma_max: null,
  solver_order: 2,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  lower_order_final: true,
  euler_at_final: false,
  lambda_min_clipped: Number.NEGATIVE_INFINITY,
  predict_x0: true,
  disable_corrector: [],
  original_inference_steps: 50,
  timestep_scaling: 10,
}

/** Reads scheduler_config.json's text, which may hold Python's `-Infinity`. Raises 'model/config'. */
export function parseSchedulerConfig(text: string): RawSchedulerConfig {
  // 1e999 is the number that every JSON parser reads as infinity; strings are matched first so that they stay as they are.
  const json = text.replace(/"(?:[^"\\]|\\.)*"|Infinity|NaN/g, (token) =>
    token.startsWith('"') ? token : token === 'NaN' ? 'null' : '1e999',
  )
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch (cause) {
    throw new PhospheneError(
      {
        code: 'model/config',
        message: `scheduler_config.json is not JSON: ${(cause as Error).message}`,
        fix: 'Download scheduler/scheduler_config.json again.',
      },
      { cause },
    )
  }
  return asObject(parsed)
}

function asObject(json: unknown): RawSchedulerConfig {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as RawSchedulerConfig
  throw new PhospheneError({
    code: 'model/config',
    message: `a scheduler's config must be an object, not ${JSON.stringify(json)}`,
    fix: 'Give the content of scheduler/scheduler_config.json.',
  })
}

/**
 * diffusers' `forClass.from_config(json, **extra)`: a class takes over the keys that the file spells out and that it
 * knows; whatever the file's own class merely defaulted is not inherited, `forClass` has its own default then.
 * Raises 'model/config' for values that no scheduler understands, 'sampler/options' for an `extra` key that it ignores.
 */
export function schedulerConfig(
  json: unknown,
  forClass: SchedulerClass,
  extra: Partial<SchedulerConfig> = {},
): SchedulerConfig {
  const { defaults } = schedulerClasses[forClass]
  const spelledOut = asObject(json)
  const merged: Record<string, unknown> = { ...neutral, ...defaults }
  for (const key of Object.keys(defaults) as Key[]) {
    const value = key in extra ? extra[key] : spelledOut[key]
    if (checks[key](value)) merged[key] = value
    else if (value !== undefined && value !== null) throw badValue(key, value) // Python's None: not spelled out
  }
  const ignored = Object.keys(extra).find((key) => !(key in defaults))
  if (ignored) {
    throw new PhospheneError({
      code: 'sampler/options',
      message: `${forClass} has no option ${ignored}`,
      fix: `Leave it out, or use one of: ${Object.keys(defaults).join(', ')}.`,
    })
  }
  return checked({ ...(merged as unknown as SchedulerConfig), ...renamed(merged, forClass) }, forClass)
}

/** Solver names of a sister class stand for the class's own default, as in diffusers' constructors. */
function renamed(config: Record<string, unknown>, forClass: SchedulerClass): Partial<SchedulerConfig> {
  const { solver_type: solver, algorithm_type: algorithm } = config as unknown as SchedulerConfig
  switch (forClass) {
    case 'DPMSolverMultistepScheduler':
    case 'DPMSolverSinglestepScheduler':
      return {
        solver_type: solver === 'heun' ? 'heun' : 'midpoint',
        algorithm_type: algorithm === 'deis' ? 'dpmsolver++' : algorithm,
      }
    case 'UniPCMultistepScheduler':
      return { solver_type: solver === 'bh1' ? 'bh1' : 'bh2' }
    case 'DEISMultistepScheduler':
      return { solver_type: 'logrho', algorithm_type: 'deis' }
    default:
      return {}
  }
}

function checked(config: SchedulerConfig, forClass: SchedulerClass): SchedulerConfig {
  const unsupported = (['thresholding', 'use_flow_sigmas'] as const).find((key) => config[key])
  if (unsupported) {
    throw new PhospheneError({
      code: 'model/unsupported',
      message: `the scheduler's config sets ${unsupported}, which is not meant for latent diffusion's noise schedules`,
      fix: `Set ${unsupported} to false in scheduler_config.json.`,
    })
  }
  const schedules = (
    ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas'] as const
  ).filter((key) => config[key])
  if (schedules.length > 1) {
    throw new PhospheneError({
      code: 'sampler/options',
      message: `${forClass}: ${schedules.join(' and ')} are both set, a run has one noise schedule`,
      fix: 'Choose one noise schedule.',
    })
  }
  if (config.trained_betas && config.trained_betas.length !== config.num_train_timesteps) {
    throw badValue('trained_betas', `${config.trained_betas.length} values for ${config.num_train_timesteps} steps`)
  }
  return config
}

function badValue(key: string, value: unknown): PhospheneError {
  return new PhospheneError({
    code: 'model/config',
    message: `the scheduler's config has ${key} = ${JSON.stringify(value) ?? String(value)}, which is not a value it can take`,
    fix: `Correct ${key} in scheduler/scheduler_config.json.`,
  })
}
