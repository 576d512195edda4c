// The update formulas that the multistep and the singlestep DPM-Solver share.
import { PhospheneError } from '../../error.ts'
import type { SchedulerConfig } from '../config.ts'
import { denoisedOf, epsilonOf, levelOfSigma } from '../prediction.ts'
import { combine, only } from '../row.ts'
import type { Row } from '../stage.ts'

/** A point of the schedule: x = alpha · image + sigma · ε, λ = log(alpha / sigma). */
export interface Level {
  readonly alpha: number
  readonly sigma: number
  readonly lambda: number
}

export function levelOf(sigma: number): Level {
  const { signal, noise } = levelOfSigma(sigma)
  return { alpha: signal, sigma: noise, lambda: -Math.log(sigma) }
}

/** Whether the solver integrates the model's image (DPM-Solver++) or its noise (DPM-Solver). */
export function integratesImage(config: SchedulerConfig): boolean {
  return config.algorithm_type.endsWith('++')
}

/** The quantity that the solver integrates, at this stage. */
export function convertedOutput(config: SchedulerConfig, sigma: number): Row {
  return integratesImage(config) ? only('denoised') : epsilonOf(config.prediction_type, levelOfSigma(sigma))
}

export function denoisedAt(config: SchedulerConfig, sigma: number): { x: number; model: number } {
  return denoisedOf(config.prediction_type, levelOfSigma(sigma))
}

/** Finite differences of the solver's quantity over λ, scaled by the step: d0 its value, d1 its slope, d2 its bend. */
export interface Differences {
  readonly d0: Row
  readonly d1?: Row
  readonly d2?: Row
}

/**
 * x at `to` from the row `x` at `from`. Lu et al. 2022, DPM-Solver (arXiv:2206.00927, equations 3.6 and B.5) and
 * DPM-Solver++ (arXiv:2211.01095, equations 3.5 to 4.4 and, stochastic, 4.7).
 * `midpoint` replaces the slope's exact weight by half of the value's.
 */
export function dpmUpdate(config: SchedulerConfig, from: Level, to: Level, x: Row, of: Differences, midpoint: boolean) {
  const h = to.lambda - from.lambda
  const { d0, d1 = {}, d2 = {} } = of
  const weights = updateWeights(config, from, to, h, midpoint, of.d2 !== undefined)
  return combine([weights.x, x], [weights.d0, d0], [weights.d1, d1], [weights.d2, d2], [weights.noise, only('noise')])
}

function updateWeights(config: SchedulerConfig, from: Level, to: Level, h: number, midpoint: boolean, third: boolean) {
  switch (config.algorithm_type) {
    case 'dpmsolver++': {
      const e = Math.expm1(-h)
      return {
        x: to.sigma / from.sigma,
        d0: -to.alpha * e,
        d1: midpoint ? (-to.alpha * e) / 2 : to.alpha * (e / h + 1),
        d2: third ? -to.alpha * ((e + h) / h ** 2 - 0.5) : 0,
        noise: 0,
      }
    }
    case 'dpmsolver': {
      const e = Math.expm1(h)
      return {
        x: to.alpha / from.alpha,
        d0: -to.sigma * e,
        d1: midpoint ? (-to.sigma * e) / 2 : -to.sigma * (e / h - 1),
        d2: third ? -to.sigma * ((e - h) / h ** 2 - 0.5) : 0,
        noise: 0,
      }
    }
    case 'sde-dpmsolver++': {
      const e = Math.expm1(-2 * h)
      return {
        x: (to.sigma / from.sigma) * Math.exp(-h),
        d0: -to.alpha * e,
        d1: midpoint ? (-to.alpha * e) / 2 : to.alpha * (e / (2 * h) + 1),
        // As k-diffusion's sample_dpmpp_3m_sde; diffusers' own term has other signs and does not vanish with h.
        d2: third ? -to.alpha * ((e + 2 * h) / (2 * h) ** 2 - 0.5) : 0,
        noise: to.sigma * Math.sqrt(-e),
      }
    }
    case 'sde-dpmsolver': {
      const e = Math.expm1(h)
      if (third) throw noThirdOrder()
      return {
        x: to.alpha / from.alpha,
        d0: -2 * to.sigma * e,
        d1: midpoint ? -to.sigma * e : -2 * to.sigma * (e / h - 1),
        d2: 0,
        noise: to.sigma * Math.sqrt(Math.expm1(2 * h)),
      }
    }
    default:
      throw new PhospheneError({
        code: 'sampler/options',
        message: `DPM-Solver has no algorithm_type ${config.algorithm_type}`,
        fix: 'Use dpmsolver++ or sde-dpmsolver++.',
      })
  }
}

function noThirdOrder(): PhospheneError {
  return new PhospheneError({
    code: 'sampler/options',
    message: 'there is no third-order form of algorithm_type sde-dpmsolver',
    fix: 'Set solver_order to 2, or algorithm_type to sde-dpmsolver++.',
  })
}

/** σ after the last step. */
export function finalSigma(config: SchedulerConfig, sigmaMin: number): number {
  if (config.final_sigmas_type === 'sigma_min') return sigmaMin
  if (integratesImage(config)) return 0
  throw new PhospheneError({
    code: 'sampler/options',
    message: `algorithm_type ${config.algorithm_type} cannot end at sigma 0`,
    fix: 'Set final_sigmas_type to sigma_min, or algorithm_type to dpmsolver++.',
  })
}

/** The noisiest training steps are left out where λ lies below `lambda_min_clipped`; how many remain. */
export function unclippedSteps(config: SchedulerConfig, sigmas: readonly number[]): number {
  return sigmas.filter((sigma) => -Math.log(sigma) >= config.lambda_min_clipped).length
}

export function checkOrder(order: number): void {
  if (order <= 3) return
  throw new PhospheneError({
    code: 'sampler/options',
    message: `solver_order is ${order}, the solver goes up to 3`,
    fix: 'Set solver_order to 1, 2 or 3.',
  })
}
