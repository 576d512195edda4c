// Noise schedules as functions (n, range) → falling sigmas, and the way back from a sigma to the model's timestep.
import { symmetricBetaQuantile } from './beta-quantile.ts'
import { linspace } from './spacing.ts'

export interface SigmaRange {
  readonly min: number
  readonly max: number
}

/** Karras et al. 2022, arXiv:2206.00364, equation 5, ρ = 7. */
export function karrasSigmas(count: number, { min, max }: SigmaRange): number[] {
  const rho = 7
  return linspace(0, 1, count).map((ramp) => (max ** (1 / rho) + ramp * (min ** (1 / rho) - max ** (1 / rho))) ** rho)
}

/** Evenly spaced in log σ. */
export function exponentialSigmas(count: number, { min, max }: SigmaRange): number[] {
  return linspace(Math.log(max), Math.log(min), count).map(Math.exp)
}

/** Lee et al. 2024, arXiv:2407.12173: quantiles of Beta(0.6, 0.6), stretched over the sigmas. */
export function betaSigmas(count: number, { min, max }: SigmaRange): number[] {
  return linspace(0, 1, count).map((ramp) => min + symmetricBetaQuantile(1 - ramp, 0.6) * (max - min))
}

/** Position of σ between the training sigmas (given as rising logarithms), linear in log σ, clamped to the ends. */
export function timestepOfSigma(sigma: number, logSigmas: ArrayLike<number>): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10))
  let low = 0
  for (let i = 1; i <= logSigmas.length - 2 && logSigmas[i]! <= logSigma; i++) low = i
  const weight = (logSigmas[low]! - logSigma) / (logSigmas[low]! - logSigmas[low + 1]!)
  const clamped = Math.min(Math.max(weight, 0), 1)
  return (1 - clamped) * low + clamped * (low + 1)
}

/** The training sigma at a fractional timestep, linear in σ, clamped to the ends. */
export function sigmaAt(sigmas: readonly number[], timestep: number): number {
  const clamped = Math.min(Math.max(timestep, 0), sigmas.length - 1)
  const low = Math.min(Math.floor(clamped), sigmas.length - 2)
  return sigmas[low]! + (sigmas[low + 1]! - sigmas[low]!) * (clamped - low)
}
