// Heun's method: two model calls a step, the second at the end point of the first.
import { denoisedOfSigma, levelOfSigma } from '../prediction.ts'
import { combine, difference, only } from '../row.ts'
import { fractionalSchedule } from '../schedule.ts'
import { type Family, stageOf, unscaledStart } from '../trajectory.ts'

/** Karras et al. 2022, arXiv:2206.00364, algorithm 1 (no churn). 'base' is the step's x, 'slope' its first derivative. */
export const heun: Family = ({ config, steps }) => {
  const schedule = fractionalSchedule(config, steps)
  const levels = [...schedule.sigmas, 0]
  const timesteps = schedule.timesteps.flatMap((timestep, i) => (i === 0 ? [timestep] : [timestep, timestep]))
  const sigmas = levels.flatMap((sigma, i) => (i === 0 || i === steps ? [sigma] : [sigma, sigma]))
  const clip = config.clip_sample ? { clip: config.clip_sample_range } : {}
  return {
    timesteps: timesteps.map(Math.fround),
    sigmas,
    initNoiseSigma: unscaledStart(config, levels),
    slots: ['x', 'base', 'slope'],
    order: 2,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const second = i % 2 === 1
      const step = Math.floor(i / 2)
      const [sigma, next] = [levels[step]!, levels[step + 1]!]
      const here = second ? next : sigma
      const slope = difference(1 / here, only('x'), only('denoised'))
      return stageOf({
        timestep: Math.fround(timesteps[i]!),
        inputScale: levelOfSigma(here).signal,
        denoised: { ...denoisedOfSigma(config.prediction_type, here), ...clip },
        x: second
          ? combine([1, only('base')], [(next - sigma) / 2, only('slope')], [(next - sigma) / 2, slope])
          : combine([1, only('x')], [next - sigma, slope]),
        history: second
          ? []
          : [
              { slot: 'base', terms: only('x') },
              { slot: 'slope', terms: slope },
            ],
      })
    },
  }
}
