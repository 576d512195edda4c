import { describe, expect, it } from 'vitest'
import { symmetricBetaQuantile } from './beta-quantile.ts'
import { alphasCumprod, betas, trainingSigmas } from './betas.ts'
import { schedulerConfig } from './config.ts'
import { betaSigmas, exponentialSigmas, karrasSigmas, sigmaAt, timestepOfSigma } from './sigma-schedules.ts'
import { linspace, roundHalfEven, spacedTimesteps } from './spacing.ts'

const config = schedulerConfig(
  { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', steps_offset: 1 },
  'EulerDiscreteScheduler',
)

describe('symmetricBetaQuantile', () => {
  it('is the identity for Beta(1, 1)', () => {
    for (const p of [0, 0.1, 0.5, 0.73, 1]) expect(symmetricBetaQuantile(p, 1)).toBeCloseTo(p, 14)
  })

  it('inverts 3x² − 2x³ for Beta(2, 2)', () => {
    for (const p of [0.001, 0.2, 0.5, 0.9]) {
      const x = symmetricBetaQuantile(p, 2)
      expect(3 * x ** 2 - 2 * x ** 3).toBeCloseTo(p, 13)
    }
  })

  it('inverts the arcsine law for Beta(½, ½)', () => {
    for (const p of [0.01, 0.3, 0.8]) {
      expect(symmetricBetaQuantile(p, 0.5)).toBeCloseTo(Math.sin((Math.PI * p) / 2) ** 2, 12)
    }
  })
})

describe('noise schedules', () => {
  const range = { min: 0.03, max: 14.6 }

  it.each([
    ['karras', karrasSigmas],
    ['exponential', exponentialSigmas],
    ['beta', betaSigmas],
  ])('%s falls from max to min, and is max alone for one step', (_, schedule) => {
    const sigmas = schedule(12, range)
    expect(sigmas).toHaveLength(12)
    expect(sigmas[0]).toBeCloseTo(range.max, 10)
    expect(sigmas[11]).toBeCloseTo(range.min, 10)
    for (let i = 1; i < 12; i++) expect(sigmas[i]!).toBeLessThan(sigmas[i - 1]!)
    expect(schedule(1, range)[0]).toBeCloseTo(range.max, 10)
  })

  it('karras is even in σ^(1/7), exponential in log σ', () => {
    const [a, b, c] = karrasSigmas(3, range).map((sigma) => sigma ** (1 / 7))
    expect(b! - a!).toBeCloseTo(c! - b!, 12)
    const [d, e, f] = exponentialSigmas(3, range).map(Math.log)
    expect(e! - d!).toBeCloseTo(f! - e!, 12)
  })
})

describe('training levels', () => {
  it('are Stable Diffusion’s', () => {
    const sigmas = trainingSigmas(config)
    expect(sigmas[0]).toBeCloseTo(0.029167, 5)
    expect(sigmas[999]).toBeCloseTo(14.6146, 3)
    expect(betas(config)[999]).toBeCloseTo(0.012, 12)
  })

  it('end in pure noise with zero terminal SNR, and start as before', () => {
    const rescaled = alphasCumprod({ ...config, rescale_betas_zero_snr: true })
    expect(rescaled[999]).toBe(0)
    expect(rescaled[0]).toBeCloseTo(alphasCumprod(config)[0]!, 12)
    expect(trainingSigmas({ ...config, rescale_betas_zero_snr: true })[999]).toBeCloseTo(4096, 3)
  })

  it('are found again from a sigma', () => {
    const sigmas = trainingSigmas(config)
    const logSigmas = sigmas.map(Math.log)
    for (const t of [0, 1, 37, 500, 998, 999]) expect(timestepOfSigma(sigmas[t]!, logSigmas)).toBeCloseTo(t, 9)
    expect(timestepOfSigma(1e-9, logSigmas)).toBe(0)
    expect(timestepOfSigma(1e9, logSigmas)).toBe(999)
    expect(sigmaAt(sigmas, 36.5)).toBeCloseTo((sigmas[36]! + sigmas[37]!) / 2, 12)
    expect(sigmaAt(sigmas, 1001)).toBe(sigmas[999])
  })

  it('have torch’s float32 bits where they are wanted', () => {
    const sigmas = trainingSigmas(config, Math.fround)
    expect(sigmas[0]).toBe(0.029167532920837402)
    expect(sigmas[999]).toBe(14.614646911621094)
  })

  it('may be given', () => {
    const trained = linspace(0.1, 0.2, 1000)
    expect(betas({ ...config, trained_betas: trained })).toEqual(trained)
  })
})

describe('spacing', () => {
  it('rounds ties to even', () => {
    expect([0.5, 1.5, 2.5, 62.5, 187.5, 3.49, 3.51].map(roundHalfEven)).toEqual([0, 2, 2, 62, 188, 3, 4])
  })

  it.each([
    ['leading', 'points', [751, 501, 251, 1]],
    ['leading', 'intervals', [801, 601, 401, 201]],
    ['trailing', 'points', [999, 749, 499, 249]],
    ['trailing', 'intervals', [999, 749, 499, 249]],
    ['linspace', 'points', [999, 666, 333, 0]],
    ['linspace', 'intervals', [999, 749, 500, 250]],
  ] as const)('%s, %s', (timestep_spacing, form, expected) => {
    expect(spacedTimesteps({ ...config, timestep_spacing }, 4, form)).toEqual(expected)
  })

  it('keeps fractions only in the fractional form', () => {
    expect(spacedTimesteps(config, 8, 'fractional')[1]).toBe(Math.fround((999 * 6) / 7))
    expect(spacedTimesteps(config, 8, 'points')[1]).toBe(856)
  })

  it('gives exactly n timesteps for every n', () => {
    for (let n = 1; n <= 1000; n++) {
      const spaced = spacedTimesteps({ ...config, timestep_spacing: 'trailing' }, n, 'points')
      expect(spaced).toHaveLength(n)
      expect(spaced.at(-1)).toBeGreaterThanOrEqual(0)
    }
  })
})
