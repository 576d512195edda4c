// Euler's method along the probability-flow ODE, and its ancestral form.
import { denoisedOfSigma, levelOfSigma } from '../prediction.ts'
import { combine, only } from '../row.ts'
import { fractionalSchedule } from '../schedule.ts'
import { type Family, stageOf, unscaledStart } from '../trajectory.ts'

/** Karras et al. 2022, arXiv:2206.00364, algorithm 1 without its second-order correction and without churn. */
export const euler: Family = ({ config, steps }) => {
  const schedule = fractionalSchedule(config, steps)
  const sigmas = [...schedule.sigmas, config.final_sigmas_type === 'sigma_min' ? schedule.sigmaMin : 0]
  const continuous = config.timestep_type === 'continuous' && config.prediction_type === 'v_prediction'
  const timesteps = continuous ? schedule.sigmas.map((sigma) => 0.25 * Math.log(sigma)) : schedule.timesteps
  return {
    timesteps,
    sigmas,
    initNoiseSigma: unscaledStart(config, sigmas),
    slots: ['x'],
    order: 1,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!]
      return stageOf({
        timestep: timesteps[i]!,
        inputScale: levelOfSigma(sigma).signal,
        denoised: denoisedOfSigma(config.prediction_type, sigma),
        x: combine([next / sigma, only('x')], [1 - next / sigma, only('denoised')]),
      })
    },
  }
}

/** The part of the way from σ to `next` that is walked down, and the noise added to come back up to `next`. */
export function ancestralStep(sigma: number, next: number): { down: number; up: number } {
  const up = Math.min(next, Math.sqrt((next ** 2 * (sigma ** 2 - next ** 2)) / sigma ** 2))
  return { down: Math.sqrt(next ** 2 - up ** 2), up }
}

/** k-diffusion's sample_euler_ancestral, η = 1. */
export const eulerAncestral: Family = ({ config, steps }) => {
  const schedule = fractionalSchedule(config, steps)
  const sigmas = [...schedule.sigmas, 0]
  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: unscaledStart(config, sigmas),
    slots: ['x'],
    order: 1,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const sigma = sigmas[i]!
      const { down, up } = ancestralStep(sigma, sigmas[i + 1]!)
      return stageOf({
        timestep: schedule.timesteps[i]!,
        inputScale: levelOfSigma(sigma).signal,
        denoised: denoisedOfSigma(config.prediction_type, sigma),
        x: combine([down / sigma, only('x')], [1 - down / sigma, only('denoised')], [up, only('noise')]),
        drawsNoise: true,
      })
    },
  }
}
