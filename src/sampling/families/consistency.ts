// Samplers of distilled models: LCM jumps to the image and noises again, TCD jumps to an earlier point of the trajectory.
import { PhospheneError } from '../../error.ts'
import { alphaAt, alphasCumprod } from '../betas.ts'
import type { SchedulerConfig } from '../config.ts'
import { denoisedOf, epsilonOf, levelOfAlpha } from '../prediction.ts'
import { combine, only } from '../row.ts'
import { type Family, stageOf } from '../trajectory.ts'

/** Luo et al. 2023, arXiv:2310.04378, algorithm 3, with c_skip and c_out of equation 9 (σ_data = ½). */
export const lcm: Family = ({ config, steps }) => {
  const alphas = alphasCumprod(config)
  const timesteps = distilledTimesteps(config, steps)
  return {
    timesteps,
    initNoiseSigma: 1,
    slots: ['x'],
    order: 1,
    noiseAt: (i) => levelOfAlpha(alphaAt(alphas, timesteps[i]!)),
    stage(i) {
      const timestep = timesteps[i]!
      const next = timesteps[i + 1]
      const dataVariance = 0.25
      const scaled = timestep * config.timestep_scaling
      const skip = dataVariance / (scaled ** 2 + dataVariance)
      const out = scaled / Math.sqrt(scaled ** 2 + dataVariance)
      const image = combine([out, only('denoised')], [skip, only('x')])
      const to = next === undefined ? { signal: 1, noise: 0 } : levelOfAlpha(alphaAt(alphas, next))
      return stageOf({
        timestep,
        denoised: {
          ...denoisedOf(config.prediction_type, levelOfAlpha(alphaAt(alphas, timestep))),
          ...(config.clip_sample ? { clip: config.clip_sample_range } : {}),
        },
        x: combine([to.signal, image], [to.noise, only('noise')]),
        drawsNoise: next !== undefined,
      })
    },
  }
}

/** Zheng et al. 2024, arXiv:2402.19159, algorithm 4; `eta` is the paper's γ. */
export const tcd: Family = ({ config, steps, eta = 0.3 }) => {
  const alphas = alphasCumprod(config)
  const timesteps = distilledTimesteps(config, steps)
  return {
    timesteps,
    initNoiseSigma: 1,
    slots: ['x'],
    order: 1,
    noiseAt: (i) => levelOfAlpha(alphaAt(alphas, timesteps[i]!)),
    stage(i) {
      const timestep = timesteps[i]!
      const next = timesteps[i + 1]
      const level = levelOfAlpha(alphaAt(alphas, timestep))
      const alphaS = alphaAt(alphas, Math.floor((1 - eta) * (next ?? 0)))
      const s = levelOfAlpha(alphaS)
      const jump = combine([s.signal, only('denoised')], [s.noise, epsilonOf(config.prediction_type, level)])
      const noised = next !== undefined && eta > 0
      const kept = noised ? alphaAt(alphas, next) / alphaS : 1
      return stageOf({
        timestep,
        denoised: denoisedOf(config.prediction_type, level),
        x: combine([Math.sqrt(kept), jump], [Math.sqrt(1 - kept), only('noise')]),
        drawsNoise: noised,
      })
    },
  }
}

/** n of the timesteps that the student was distilled on, evenly spaced from the noisiest. */
function distilledTimesteps(config: SchedulerConfig, steps: number): number[] {
  const { original_inference_steps: original, num_train_timesteps: trained } = config
  if (original > trained || steps > original) {
    throw new PhospheneError({
      code: 'sampler/options',
      message:
        original > trained
          ? `original_inference_steps is ${original}, but the model was trained with ${trained} steps`
          : `${steps} steps were asked for, but the model was distilled on ${original}`,
      fix: `Use at most ${Math.min(original, trained)} steps, or set original_inference_steps accordingly.`,
    })
  }
  const stride = Math.floor(trained / original)
  return Array.from({ length: steps }, (_, i) => (original - Math.floor((i * original) / steps)) * stride - 1)
}
