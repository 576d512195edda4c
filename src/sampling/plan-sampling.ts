// From a model's scheduler config and the options of a run to its rows of coefficients.
import { PhospheneError } from '../error.ts'
import { type PredictionType, type RawSchedulerConfig, type SchedulerConfig, schedulerConfig } from './config.ts'
import { families } from './samplers.ts'
import { type SchedulerClass, schedulerClasses } from './scheduler-classes.ts'
import type { SamplingRun, Stage } from './stage.ts'
import type { Trajectory } from './trajectory.ts'

export const scheduleNames = ['normal', 'karras', 'exponential', 'beta'] as const
export type ScheduleName = (typeof scheduleNames)[number]

export interface SamplingOptions {
  /** The model's scheduler_config.json, as parsed. */
  readonly config: RawSchedulerConfig
  readonly className: SchedulerClass
  /** `from_config` overrides, usually a sampler's. */
  readonly extra?: Partial<SchedulerConfig>
  /** num_inference_steps; some samplers call the model more often. */
  readonly steps: number
  /**
   * DDIM's η (default 0) or TCD's γ (default 0.3), 0 to 1; the other samplers have none, 0 is accepted for all.
   * diffusers' pipelines always pass theirs, which is 0 unless asked for, so their TCD runs are deterministic.
   */
  readonly eta?: number
  /** Spacing of the noise levels, in place of the config's. */
  readonly schedule?: ScheduleName
  /** What the model predicts, in place of the config's word. */
  readonly prediction?: PredictionType
  /** Image-to-image: the share of the steps that run, in (0, 1]; the first stages are left out. Default 1. */
  readonly strength?: number
}

/** Raises 'sampler/options' for what cannot be, 'model/config' for a config that makes no sense. */
export function planSampling(options: SamplingOptions): SamplingRun {
  const { className, steps, eta, strength = 1 } = options
  if (!Number.isInteger(steps) || steps < 1) {
    throw optionError(`steps is ${steps}`, 'Give a whole number of steps, at least 1.')
  }
  if (!(strength > 0 && strength <= 1)) {
    throw optionError(`strength is ${strength}`, 'Give a strength above 0 and up to 1.')
  }
  checkEta(className, eta)
  const config = schedulerConfig(options.config, className, {
    ...options.extra,
    ...scheduleOverride(className, options.schedule),
    ...(options.prediction ? { prediction_type: options.prediction } : {}),
  })
  const trajectory = families[className]({ config, steps, ...(eta === undefined ? {} : { eta }) })
  return runFrom(trajectory, firstStage(trajectory, steps, strength), `${className}, ${steps} steps`)
}

/** diffusers' `get_timesteps`: whole steps are skipped, rounded in favour of skipping. */
function firstStage(trajectory: Trajectory, steps: number, strength: number): number {
  const skipped = steps - Math.min(Math.floor(steps * strength), steps)
  if (skipped < steps) return skipped * trajectory.order
  throw optionError(
    `strength ${strength} of ${steps} steps leaves none to run`,
    `Use at least ${Math.ceil(1 / strength)} steps, or a higher strength.`,
  )
}

function runFrom(trajectory: Trajectory, first: number, what: string): SamplingRun {
  const timesteps = trajectory.timesteps.slice(first)
  const stages = timesteps.map((_, done) => trajectory.stage(first + done, done))
  const broken = stages.findIndex((stage) => !allFinite(stage))
  if (broken >= 0) {
    throw optionError(
      `${what}: stage ${broken} (timestep ${timesteps[broken]}) has coefficients that are not finite`,
      'Use another number of steps, noise schedule or sampler for this model.',
    )
  }
  return {
    timesteps,
    ...(trajectory.sigmas ? { sigmas: trajectory.sigmas } : {}),
    initNoiseSigma: trajectory.initNoiseSigma,
    slots: trajectory.slots,
    stages,
    addNoise: (index) => trajectory.noiseAt(first + index),
  }
}

function allFinite(stage: Stage): boolean {
  const { timestep, inputScale, denoised, updates } = stage
  const terms = updates.flatMap((update) => Object.values(update.terms))
  return [timestep, inputScale, denoised.x, denoised.model, ...terms].every(Number.isFinite)
}

function checkEta(className: SchedulerClass, eta: number | undefined): void {
  if (eta === undefined || eta === 0) return
  if (className !== 'DDIMScheduler' && className !== 'TCDScheduler') {
    throw optionError(`eta is ${eta}, but ${className} has no eta`, 'Leave eta out, or use ddim or tcd.')
  }
  if (!(eta >= 0 && eta <= 1)) throw optionError(`eta is ${eta}`, 'Give an eta from 0 to 1.')
}

function scheduleOverride(className: SchedulerClass, schedule: ScheduleName | undefined): Partial<SchedulerConfig> {
  if (schedule === undefined) return {}
  if (!scheduleNames.includes(schedule)) {
    throw optionError(`there is no noise schedule '${schedule}'`, `Use one of: ${scheduleNames.join(', ')}.`)
  }
  const { defaults } = schedulerClasses[className]
  const supported = 'use_karras_sigmas' in defaults
  if (!supported && schedule === 'normal') return {}
  if (!supported) {
    throw optionError(
      `${className} is defined on the model's own timesteps, the noise schedule '${schedule}' has no meaning for it`,
      'Leave the schedule out, or use a sampler such as euler or dpmpp_2m.',
    )
  }
  return {
    use_karras_sigmas: schedule === 'karras',
    use_exponential_sigmas: schedule === 'exponential',
    use_beta_sigmas: schedule === 'beta',
    ...('use_lu_lambdas' in defaults ? { use_lu_lambdas: false } : {}),
  }
}

function optionError(message: string, fix: string): PhospheneError {
  return new PhospheneError({ code: 'sampler/options', message, fix })
}
