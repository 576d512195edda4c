// The model's noise levels in training: betas and what follows from them. Choosing levels to sample at is spacing's and
// sigma-schedules' part.
import { PhospheneError } from '../error.ts'
import type { SchedulerConfig } from './config.ts'

/** Applied after each operation: none for the doubles that we compute with, `Math.fround` where torch's bits are wanted. */
type Rounding = (value: number) => number
const exact: Rounding = (value) => value

/** torch.linspace, which counts from both ends. */
function fromBothEnds(from: number, to: number, count: number, round: Rounding): number[] {
  const [start, end] = [round(from), round(to)]
  const step = round(round(end - start) / (count - 1))
  return Array.from({ length: count }, (_, i) =>
    i < count / 2 ? round(start + round(step * i)) : round(end - round(step * (count - 1 - i))),
  )
}

/** Per training step: the noise added by it, β_t. */
export function betas(config: SchedulerConfig, round = exact): number[] {
  const { num_train_timesteps: count, beta_start: start, beta_end: end, trained_betas: trained } = config
  if (trained) return trained.map(round)
  switch (config.beta_schedule) {
    case 'linear':
      return fromBothEnds(start, end, count, round)
    case 'scaled_linear': // linear in √β: latent diffusion's own
      return fromBothEnds(Math.sqrt(start), Math.sqrt(end), count, round).map((root) => round(root * root))
    case 'squaredcos_cap_v2': // Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17
      return Array.from({ length: count }, (_, i) => {
        const signal = (t: number) => Math.cos((((t / count + 0.008) / 1.008) * Math.PI) / 2) ** 2
        return round(Math.min(1 - signal(i + 1) / signal(i), 0.999))
      })
    case 'sigmoid': // GeoDiff's, offered by DDPM
      return fromBothEnds(-6, 6, count, round).map((value) => round((end - start) / (1 + Math.exp(-value)) + start))
    default:
      return config.beta_schedule satisfies never
  }
}

/** ᾱ of a schedule whose last step is pure noise: Lin et al. 2023, arXiv:2305.08891, algorithm 1. */
function withZeroTerminalSnr(alphasCumprod: readonly number[]): number[] {
  const signals = alphasCumprod.map(Math.sqrt)
  const [first, last] = [signals[0]!, signals.at(-1)!]
  return signals.map((signal) => (((signal - last) * first) / (first - last)) ** 2)
}

/**
 * ᾱ_t, the share of the image's variance left at training step t.
 * `lastAbove` is put for the last one where SNR 0 would make its sigma infinite (2⁻²⁴ in diffusers).
 */
export function alphasCumprod(config: SchedulerConfig, lastAbove = 0, round = exact): number[] {
  let product = 1 // torch multiplies in doubles even where it stores float32
  const alphas = betas(config, round).map((beta) => {
    product *= round(1 - beta)
    return round(product)
  })
  if (!config.rescale_betas_zero_snr) return alphas
  const rescaled = withZeroTerminalSnr(alphas).map(round)
  rescaled[rescaled.length - 1] = lastAbove
  return rescaled
}

/** ᾱ at a timestep that must be one of training's; raises 'sampler/options' for others. */
export function alphaAt(table: readonly number[], timestep: number): number {
  const alpha = table[timestep]
  if (alpha !== undefined) return alpha
  throw new PhospheneError({
    code: 'sampler/options',
    message: `timestep ${timestep} is outside the ${table.length} steps that the model was trained with`,
    fix: "Use fewer steps, or set the scheduler's steps_offset to 0.",
  })
}

/** σ_t = √((1 − ᾱ_t) / ᾱ_t), rising with t. */
export function trainingSigmas(config: SchedulerConfig, round = exact): number[] {
  return alphasCumprod(config, 2 ** -24, round).map((alpha) => round(Math.sqrt(round(round(1 - alpha) / alpha))))
}
