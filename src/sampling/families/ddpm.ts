// DDPM: ancestral sampling along the training chain, strided.
import { PhospheneError } from '../../error.ts'
import { alphaAt, alphasCumprod } from '../betas.ts'
import type { SchedulerConfig } from '../config.ts'
import { denoisedOf, levelOfAlpha } from '../prediction.ts'
import { combine, only } from '../row.ts'
import { spacedTimesteps } from '../spacing.ts'
import { type Family, stageOf } from '../trajectory.ts'

/** Ho et al. 2020, arXiv:2006.11239, equations 6 and 7, with α and β of the strided chain. */
export const ddpm: Family = ({ config, steps }) => {
  const alphas = alphasCumprod(config)
  const timesteps = spacedTimesteps(config, steps, 'points')
  return {
    timesteps,
    initNoiseSigma: 1,
    slots: ['x'],
    order: 1,
    noiseAt: (i) => levelOfAlpha(alphaAt(alphas, timesteps[i]!)),
    stage(i) {
      const timestep = timesteps[i]!
      const next = timesteps[i + 1]
      const alphaBar = alphaAt(alphas, timestep)
      const alphaBarNext = next === undefined ? 1 : alphas[next]!
      const alpha = alphaBar / alphaBarNext
      const posterior = ((1 - alphaBarNext) / (1 - alphaBar)) * (1 - alpha)
      const variance = varianceOf(config, posterior, 1 - alpha)
      return stageOf({
        timestep,
        denoised: {
          ...denoisedOf(config.prediction_type, levelOfAlpha(alphaBar)),
          ...(config.clip_sample ? { clip: config.clip_sample_range } : {}),
        },
        x: combine(
          [(Math.sqrt(alphaBarNext) * (1 - alpha)) / (1 - alphaBar), only('denoised')],
          [(Math.sqrt(alpha) * (1 - alphaBarNext)) / (1 - alphaBar), only('x')],
          [timestep > 0 ? Math.sqrt(variance) : 0, only('noise')],
        ),
        drawsNoise: timestep > 0,
      })
    },
  }
}

function varianceOf(config: SchedulerConfig, posterior: number, beta: number): number {
  switch (config.variance_type) {
    case 'fixed_small':
    case 'fixed_small_log':
      return Math.max(posterior, 1e-20)
    case 'fixed_large':
      return beta
    default:
      throw new PhospheneError({
        code: 'model/unsupported',
        message: `DDPMScheduler with variance_type ${config.variance_type}: the model would have to predict the variance`,
        fix: 'Set variance_type to fixed_small, or choose another sampler.',
      })
  }
}
