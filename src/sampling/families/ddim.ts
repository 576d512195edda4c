// DDIM, deterministic (η = 0) to DDPM-like (η = 1).
import { alphaAt, alphasCumprod } from '../betas.ts'
import { denoisedOf, epsilonOf, levelOfAlpha } from '../prediction.ts'
import { combine, only } from '../row.ts'
import { spacedTimesteps } from '../spacing.ts'
import { type Family, stageOf } from '../trajectory.ts'

/** Song et al. 2020, arXiv:2010.02502, equation 12; σ_t of equation 16 is η times the posterior's deviation. */
export const ddim: Family = ({ config, steps, eta = 0 }) => {
  const alphas = alphasCumprod(config)
  const timesteps = spacedTimesteps(config, steps, 'points')
  const stride = Math.floor(config.num_train_timesteps / steps)
  const finalAlpha = config.set_alpha_to_one ? 1 : alphas[0]!
  return {
    timesteps,
    initNoiseSigma: 1,
    slots: ['x'],
    order: 1,
    noiseAt: (i) => levelOfAlpha(alphaAt(alphas, timesteps[i]!)),
    stage(i) {
      const timestep = timesteps[i]!
      const alpha = alphaAt(alphas, timestep)
      const alphaNext = timestep >= stride ? alphas[timestep - stride]! : finalAlpha
      const variance = ((1 - alphaNext) / (1 - alpha)) * (1 - alpha / alphaNext)
      const sigma = eta === 0 ? 0 : eta * Math.sqrt(variance)
      const level = levelOfAlpha(alpha)
      return stageOf({
        timestep,
        denoised: {
          ...denoisedOf(config.prediction_type, level),
          ...(config.clip_sample ? { clip: config.clip_sample_range } : {}),
        },
        x: combine(
          [Math.sqrt(alphaNext), only('denoised')],
          [Math.sqrt(1 - alphaNext - sigma ** 2), epsilonOf(config.prediction_type, level)],
          [sigma, only('noise')],
        ),
        drawsNoise: eta > 0,
      })
    },
  }
}
