// DPM-Solver++ (SDE): two stochastic calls a step, the second at the middle of the step in λ.
import { trainingSigmas } from '../betas.ts'
import { denoisedOfSigma, levelOfSigma } from '../prediction.ts'
import { combine, only } from '../row.ts'
import { fractionalSchedule } from '../schedule.ts'
import { timestepOfSigma } from '../sigma-schedules.ts'
import { type Family, stageOf, unscaledStart } from '../trajectory.ts'
import { ancestralStep } from './euler.ts'

/**
 * k-diffusion's sample_dpmpp_sde, η = 1, r = ½. Noise is independent per call; k-diffusion and diffusers draw it from a
 * Brownian tree (torchsde), so their pictures differ in noise, not in mathematics.
 */
export const dpmSde: Family = ({ config, steps }) => {
  const schedule = fractionalSchedule(config, steps)
  const levels = [...schedule.sigmas, 0]
  const logTrained = trainingSigmas(config).map(Math.log)
  const middles = schedule.sigmas.map((sigma, i) => Math.sqrt(sigma * levels[i + 1]!))
  const timesteps = schedule.timesteps.flatMap((timestep, i) =>
    i === 0 ? [timestep] : [timestepOfSigma(middles[i - 1]!, logTrained), timestep],
  )
  const sigmas = levels.flatMap((sigma, i) => (i === 0 || i === steps ? [sigma] : [sigma, sigma]))
  return {
    timesteps,
    sigmas,
    initNoiseSigma: unscaledStart(config, levels),
    slots: ['x', 'base'],
    order: 2,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const second = i % 2 === 1
      const step = Math.floor(i / 2)
      const [sigma, next, middle] = [levels[step]!, levels[step + 1]!, middles[step]!]
      const here = second ? middle : sigma
      const { down, up } = ancestralStep(sigma, second ? next : middle)
      return stageOf({
        timestep: timesteps[i]!,
        inputScale: levelOfSigma(here).signal,
        denoised: denoisedOfSigma(config.prediction_type, here),
        x: combine(
          [down / sigma, only(second ? 'base' : 'x')],
          [1 - down / sigma, only('denoised')],
          [up, only('noise')],
        ),
        history: second ? [] : [{ slot: 'base', terms: only('x') }],
        drawsNoise: next > 0,
      })
    },
  }
}
