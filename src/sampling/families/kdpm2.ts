// DPM-Solver-2 as k-diffusion has it (A1111's DPM2): the second call is at the geometric middle of the step.

import { trainingSigmas } from '../betas.ts'
import type { SchedulerConfig } from '../config.ts'
import { denoisedOfSigma, levelOfSigma } from '../prediction.ts'
import { combine, difference, only } from '../row.ts'
import { fractionalSchedule, type Schedule } from '../schedule.ts'
import { timestepOfSigma } from '../sigma-schedules.ts'
import { roundHalfEven } from '../spacing.ts'
import { type Family, stageOf, type Trajectory, unscaledStart } from '../trajectory.ts'
import { ancestralStep } from './euler.ts'

/** Lu et al. 2022, arXiv:2206.00927, DPM-Solver-2, in σ. */
export const kdpm2: Family = ({ config, steps }) => {
  const schedule = kdpm2Schedule(config, steps)
  const levels = [...schedule.sigmas, 0]
  return midpointTrajectory(
    config,
    schedule,
    levels.slice(1).map((down) => ({ down, up: 0 })),
    false,
  )
}

/** The same towards the ancestral σ_down, then noise σ_up. */
export const kdpm2Ancestral: Family = ({ config, steps }) => {
  const schedule = kdpm2Schedule(config, steps)
  const levels = [...schedule.sigmas, 0]
  const targets = schedule.sigmas.map((sigma, i) => ancestralStep(sigma, levels[i + 1]!))
  return midpointTrajectory(config, schedule, targets, true)
}

/** These two classes round Karras timesteps. */
function kdpm2Schedule(config: SchedulerConfig, steps: number): Schedule {
  const schedule = fractionalSchedule(config, steps)
  return config.use_karras_sigmas ? { ...schedule, timesteps: schedule.timesteps.map(roundHalfEven) } : schedule
}

function midpointTrajectory(
  config: SchedulerConfig,
  schedule: Schedule,
  targets: readonly { readonly down: number; readonly up: number }[],
  ancestral: boolean,
): Trajectory {
  const levels = [...schedule.sigmas, 0]
  const logTrained = trainingSigmas(config).map(Math.log)
  const middles = targets.map(({ down }, i) => Math.sqrt(levels[i]! * down))
  const timesteps = schedule.timesteps.flatMap((timestep, i) =>
    i === 0 ? [timestep] : [timestepOfSigma(middles[i - 1]!, logTrained), timestep],
  )
  const sigmas = [...levels.flatMap((sigma, i) => (i === 0 ? [sigma] : [sigma, sigma])), 0]
  return {
    timesteps: timesteps.map(Math.fround),
    sigmas,
    initNoiseSigma: unscaledStart(config, levels),
    slots: ['x', 'base'],
    order: 2,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const second = i % 2 === 1
      const step = Math.floor(i / 2)
      const [sigma, middle] = [levels[step]!, middles[step]!]
      const { down, up } = targets[step]!
      const here = second ? middle : sigma
      const slope = difference(1 / here, only('x'), only('denoised'))
      return stageOf({
        timestep: Math.fround(timesteps[i]!),
        inputScale: levelOfSigma(here).signal,
        denoised: denoisedOfSigma(config.prediction_type, here),
        x: second
          ? combine([1, only('base')], [down - sigma, slope], [up, only('noise')])
          : combine([1, only('x')], [middle - sigma, slope]),
        history: second ? [] : [{ slot: 'base', terms: only('x') }],
        drawsNoise: ancestral && second,
      })
    },
  }
}
