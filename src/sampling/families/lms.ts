// Linear multistep: the derivative's polynomial through up to four points, integrated over the step.
import { denoisedOfSigma, levelOfSigma } from '../prediction.ts'
import { combine, difference, only, pushHistory } from '../row.ts'
import { fractionalSchedule } from '../schedule.ts'
import { type Family, stageOf, unscaledStart } from '../trajectory.ts'

/** k-diffusion's sample_lms, order 4 (Adams-Bashforth with uneven steps). 'slope1'… are earlier derivatives. */
export const lms: Family = ({ config, steps }) => {
  const schedule = fractionalSchedule(config, steps)
  const sigmas = [...schedule.sigmas, 0]
  const history = ['slope1', 'slope2', 'slope3']
  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: unscaledStart(config, sigmas),
    slots: ['x', ...history],
    order: 1,
    noiseAt: (i) => ({ signal: 1, noise: sigmas[i]! }),
    stage(i) {
      const sigma = sigmas[i]!
      const slope = difference(1 / sigma, only('x'), only('denoised'))
      // By position in the schedule, as diffusers has it: where image-to-image starts in the middle, the slopes before the
      // start count as 0, although the weights of the others are those of the full order.
      const points = Array.from({ length: Math.min(i + 1, 4) }, (_, k) => sigmas[i - k]!)
      const weights = points.map((_, k) => lagrangeIntegral(points, k, sigma, sigmas[i + 1]!))
      const slopes = [slope, ...history.map(only)]
      return stageOf({
        timestep: schedule.timesteps[i]!,
        inputScale: levelOfSigma(sigma).signal,
        denoised: denoisedOfSigma(config.prediction_type, sigma),
        x: combine([1, only('x')], ...weights.map((weight, k) => [weight, slopes[k]!] as const)),
        history: pushHistory(history, slope),
      })
    },
  }
}

/** ∫ from..to of the Lagrange polynomial that is 1 at points[k]; two Gauss points are exact for its degree of ≤ 3. */
function lagrangeIntegral(points: readonly number[], k: number, from: number, to: number): number {
  const polynomial = (at: number) =>
    points.reduce((product, point, j) => (j === k ? product : (product * (at - point)) / (points[k]! - point)), 1)
  const [middle, half] = [(from + to) / 2, (to - from) / 2]
  return half * (polynomial(middle - half / Math.sqrt(3)) + polynomial(middle + half / Math.sqrt(3)))
}
