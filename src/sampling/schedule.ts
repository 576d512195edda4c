// The noise levels of a run: spacing × sigma schedule, in the two manners of diffusers' sigma-based classes.
import { trainingSigmas } from './betas.ts'
import type { SchedulerConfig } from './config.ts'
import {
  betaSigmas,
  exponentialSigmas,
  karrasSigmas,
  type SigmaRange,
  sigmaAt,
  timestepOfSigma,
} from './sigma-schedules.ts'
import { linspace, roundHalfEven, spacedTimesteps } from './spacing.ts'

/** Falling sigmas, one per timestep; the final one (often 0) is left to the sampler. */
export interface Schedule {
  readonly timesteps: readonly number[]
  readonly sigmas: readonly number[]
  /** The lowest training sigma. */
  readonly sigmaMin: number
}

/** The sigmas of the schedule that the config chooses, if it chooses one. */
function chosenSigmas(config: SchedulerConfig, count: number, range: SigmaRange): number[] | undefined {
  const limits = { min: config.sigma_min ?? range.min, max: config.sigma_max ?? range.max }
  if (config.use_karras_sigmas) return karrasSigmas(count, limits)
  if (config.use_exponential_sigmas) return exponentialSigmas(count, limits)
  if (config.use_beta_sigmas) return betaSigmas(count, limits)
  return undefined
}

/**
 * k-diffusion's ports (Euler, Heun, LMS, KDPM2, SDE): fractional timesteps; karras and its like span the *spaced* sigmas.
 */
export function fractionalSchedule(config: SchedulerConfig, steps: number): Schedule {
  const trained = trainingSigmas(config)
  const logTrained = trained.map(Math.log)
  const timesteps = spacedTimesteps(config, steps, 'fractional')
  const spaced =
    config.interpolation_type === 'log_linear'
      ? linspace(logTrained.at(-1)!, logTrained[0]!, steps + 1).map(Math.exp)
      : timesteps.map((timestep) => sigmaAt(trained, timestep))
  const sigmas = chosenSigmas(config, steps, { min: spaced.at(-1)!, max: spaced[0]! })
  if (!sigmas) return { timesteps, sigmas: spaced, sigmaMin: trained[0]! }
  return { timesteps: sigmas.map((sigma) => timestepOfSigma(sigma, logTrained)), sigmas, sigmaMin: trained[0]! }
}

/**
 * DPM-Solver, UniPC, DEIS: whole timesteps; karras and its like span the *model's* sigmas.
 * `trainedSteps`: fewer than all where the config cuts off the noisiest (lambda_min_clipped).
 */
export function intervalSchedule(config: SchedulerConfig, steps: number, trainedSteps?: number): Schedule {
  const trained = trainingSigmas(config)
  const range = { min: trained[0]!, max: trained.at(-1)! }
  const sigmas = wholeRangeSigmas(config, steps, range)
  if (!sigmas) {
    const timesteps = spacedTimesteps(config, steps, 'intervals', trainedSteps)
    return { timesteps, sigmas: timesteps.map((timestep) => sigmaAt(trained, timestep)), sigmaMin: range.min }
  }
  if (config.use_karras_sigmas || config.use_lu_lambdas) {
    const logTrained = trained.map(Math.log)
    const timesteps = sigmas.map((sigma) => roundHalfEven(timestepOfSigma(sigma, logTrained)))
    return { timesteps, sigmas, sigmaMin: range.min }
  }
  return { timesteps: cutOffTimesteps(config, steps), sigmas, sigmaMin: range.min }
}

/** Lu's λ of ρ = 1 are even in log σ, which is the exponential schedule. */
function wholeRangeSigmas(config: SchedulerConfig, steps: number, range: SigmaRange): number[] | undefined {
  return config.use_lu_lambdas ? exponentialSigmas(steps, range) : chosenSigmas(config, steps, range)
}

/**
 * Exponential and beta sigmas' timesteps are cut off, not rounded, and the first lies where the last bit decides between
 * 998 and 999. So it is diffusers' bits that count here: a table in float32 against sigmas in float64.
 */
function cutOffTimesteps(config: SchedulerConfig, steps: number): number[] {
  const trained = trainingSigmas(config, Math.fround)
  const logTrained = Float32Array.from(trained, Math.log)
  const sigmas = chosenSigmas(config, steps, { min: trained[0]!, max: trained.at(-1)! })!
  return sigmas.map((sigma) => Math.trunc(timestepOfSigma(sigma, logTrained)))
}
