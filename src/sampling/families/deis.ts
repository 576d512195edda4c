// DEIS: exponential integrator whose polynomial is in log ρ, ρ = σ.
import { PhospheneError } from '../../error.ts'
import { denoisedOf, epsilonOf, levelOfSigma } from '../prediction.ts'
import { combine, only, pushHistory } from '../row.ts'
import { intervalSchedule } from '../schedule.ts'
import { type Family, stageOf } from '../trajectory.ts'

/** Zhang & Chen 2022, arXiv:2204.13902, equation 14 in log ρ. 'e1', 'e2' are earlier noise predictions. */
export const deis: Family = ({ config, steps }) => {
  if (config.solver_order > 3) {
    throw new PhospheneError({
      code: 'sampler/options',
      message: `solver_order is ${config.solver_order}, DEIS goes up to 3`,
      fix: 'Set solver_order to 1, 2 or 3.',
    })
  }
  const schedule = intervalSchedule(config, steps)
  const karrasLike = config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas
  const sigmas = [...schedule.sigmas, karrasLike ? schedule.sigmas.at(-1)! : schedule.sigmaMin]
  const history = ['e1', 'e2'].slice(0, config.solver_order - 1)

  function orderAt(i: number, done: number): number {
    const short = config.lower_order_final && steps < 15
    return Math.min(config.solver_order, done + 1, short ? steps - i : 3)
  }

  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: 1,
    slots: ['x', ...history],
    order: 1,
    noiseAt: (i) => levelOfSigma(sigmas[i]!),
    stage(i, done) {
      const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!]
      const [here, there] = [levelOfSigma(sigma), levelOfSigma(next)]
      const now = epsilonOf(config.prediction_type, here)
      const outputs = [now, ...history.map(only)]
      const rhos = Array.from({ length: orderAt(i, done) }, (_, k) => sigmas[i - k]!)
      const weights = rhos.map((_, k) => logLagrangeIntegral(rhos, k, sigma, next))
      return stageOf({
        timestep: schedule.timesteps[i]!,
        denoised: denoisedOf(config.prediction_type, here),
        x: combine(
          [there.signal / here.signal, only('x')],
          ...weights.map((weight, k) => [there.signal * weight, outputs[k]!] as const),
        ),
        history: pushHistory(history, now),
      })
    },
  }
}

/** ∫ from..to dρ of the Lagrange polynomial in log ρ that is 1 at rhos[k] and 0 at the others; up to degree 2. */
function logLagrangeIntegral(rhos: readonly number[], k: number, from: number, to: number): number {
  const others = rhos.filter((_, j) => j !== k).map(Math.log)
  const scale = others.reduce((product, other) => product * (Math.log(rhos[k]!) - other), 1)
  const [a, b] = others
  const antiderivative = (rho: number) => {
    const log = Math.log(rho)
    if (a === undefined) return rho
    if (b === undefined) return rho * (log - 1 - a)
    return rho * (log ** 2 - 2 * log + 2 - (a + b) * (log - 1) + a * b)
  }
  return (antiderivative(to) - antiderivative(from)) / scale
}
