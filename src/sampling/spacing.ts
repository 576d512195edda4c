// Which training steps a run of n steps visits: table 2 of Lin et al. 2023 (arXiv:2305.08891), in the three forms that
// diffusers' schedulers use. Same name, other numbers: that is theirs, and pictures depend on it.
import { PhospheneError } from '../error.ts'
import type { SchedulerConfig } from './config.ts'

/** `count` values from `start` to `end`, both included. */
export function linspace(start: number, end: number, count: number): number[] {
  const step = count > 1 ? (end - start) / (count - 1) : 0
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? end : start + i * step))
}

/** Ties to even, as numpy rounds. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}

/**
 * - 'points': n whole timesteps, both ends included in linspace (DDIM, PNDM, DDPM);
 * - 'fractional': as points, but linspace is not rounded (Euler, Heun, LMS, KDPM2, SDE);
 * - 'intervals': n + 1 points of which the lowest is dropped (DPM-Solver, UniPC, DEIS).
 */
export type SpacingForm = 'points' | 'fractional' | 'intervals'

/** The timesteps of a run, falling. `trainedSteps` may be less than the model's where its noisiest steps are cut off. */
export function spacedTimesteps(
  config: SchedulerConfig,
  steps: number,
  form: SpacingForm,
  trainedSteps = config.num_train_timesteps,
): number[] {
  const dropped = form === 'intervals' ? 1 : 0
  const points = steps + dropped
  switch (config.timestep_spacing) {
    case 'linspace': {
      const spaced = linspace(0, trainedSteps - 1, points)
      return (form === 'fractional' ? spaced.map(Math.fround) : spaced.map(roundHalfEven)).reverse().slice(0, steps)
    }
    case 'leading': {
      const stride = Math.floor(trainedSteps / points)
      if (stride === 0) throw tooMany(steps, trainedSteps)
      return Array.from({ length: steps }, (_, i) => (points - 1 - i) * stride + config.steps_offset)
    }
    case 'trailing': {
      const stride = config.num_train_timesteps / steps
      if (stride < 1) throw tooMany(steps, trainedSteps)
      return Array.from({ length: steps }, (_, i) => roundHalfEven(trainedSteps - i * stride) - 1)
    }
    default:
      return config.timestep_spacing satisfies never
  }
}

function tooMany(steps: number, trainedSteps: number): PhospheneError {
  return new PhospheneError({
    code: 'sampler/options',
    message: `${steps} steps were asked for, but the model was trained with ${trainedSteps}`,
    fix: `Use fewer than ${trainedSteps} steps.`,
  })
}
