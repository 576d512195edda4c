// What a model's output means: the three parametrisations, turned into denoised and into noise.
import type { PredictionType } from './config.ts'
import type { NoiseLevel, Row } from './stage.ts'

/** x = signal · image + noise · ε with signal² + noise² = 1, for σ = noise / signal. */
export function levelOfSigma(sigma: number): NoiseLevel {
  const signal = 1 / Math.sqrt(sigma * sigma + 1)
  return { signal, noise: sigma * signal }
}

export function levelOfAlpha(alphaCumprod: number): NoiseLevel {
  return { signal: Math.sqrt(alphaCumprod), noise: Math.sqrt(1 - alphaCumprod) }
}

/** The image that the model sees in x. */
export function denoisedOf(prediction: PredictionType, { signal, noise }: NoiseLevel): { x: number; model: number } {
  switch (prediction) {
    case 'epsilon':
      return { x: 1 / signal, model: -noise / signal }
    case 'sample':
      return { x: 0, model: 1 }
    case 'v_prediction': // Salimans & Ho 2022, arXiv:2202.00512, v = signal · ε − noise · image
      return { x: signal, model: -noise }
    default:
      return prediction satisfies never
  }
}

/** The same where x is not scaled down to variance 1, so x = image + σ · ε. */
export function denoisedOfSigma(prediction: PredictionType, sigma: number): { x: number; model: number } {
  const level = levelOfSigma(sigma)
  const { x, model } = denoisedOf(prediction, level)
  return { x: x * level.signal, model }
}

/** The noise that the model sees in x. */
export function epsilonOf(prediction: PredictionType, { signal, noise }: NoiseLevel): Row {
  switch (prediction) {
    case 'epsilon':
      return { model: 1 }
    case 'sample':
      return { x: 1 / noise, model: -signal / noise }
    case 'v_prediction':
      return { x: noise, model: signal }
    default:
      return prediction satisfies never
  }
}
