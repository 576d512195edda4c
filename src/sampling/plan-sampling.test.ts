import { describe, expect, it } from 'vitest'
import { PhospheneError } from '../error.ts'
import type { RawSchedulerConfig } from './config.ts'
import { planSampling, type SamplingOptions, scheduleNames } from './plan-sampling.ts'
import { resolveSampler, type SamplerName, samplerNames } from './samplers.ts'
import { schedulerClasses } from './scheduler-classes.ts'
import { applyStage, type SamplingRun, type Stage } from './stage.ts'

const sd15: RawSchedulerConfig = {
  _class_name: 'PNDMScheduler',
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  clip_sample: false,
}

function plan(name: SamplerName, steps: number, more: Partial<SamplingOptions> = {}): SamplingRun {
  const { className, extra } = resolveSampler(name)
  const still = name === 'tcd' ? { eta: 0 } : {} // TCD's noise is the reference data's to check
  return planSampling({ config: sd15, className, steps, ...still, ...more, extra: { ...extra, ...more.extra } })
}

/** Runs the rows with `model(x · inputScale, stage, x)`; `after` sees x after each stage. */
function run(
  plan: SamplingRun,
  start: ArrayLike<number>,
  model: (input: number, stage: Stage, index: number, x: number) => number,
  noise: (stage: number) => Float32Array = () => new Float32Array(start.length),
  after: (x: Float32Array, stage: number) => void = () => {},
): Float32Array {
  const slots = Object.fromEntries(plan.slots.map((slot) => [slot, new Float32Array(start.length)]))
  slots.x!.set(Array.from(start))
  plan.stages.forEach((stage, i) => {
    const output = slots.x!.map((x, k) => model(x * stage.inputScale, stage, k, x))
    applyStage(stage, slots, output, stage.drawsNoise ? noise(i) : undefined)
    after(slots.x!, i)
  })
  return slots.x!
}

const image = Float32Array.of(0.7, -1.2, 0.05, 2.1)
const epsilon = Float32Array.of(-0.4, 1.3, 2.2, -0.9)
const random = Float32Array.of(1.1, -0.3, 0.6, -1.7)
const noised = ({ signal, noise }: { signal: number; noise: number }) =>
  image.map((value, i) => value * signal + epsilon[i]! * noise)

/** A model that knows the only image there is: its output makes `denoised` that image. */
const oracle = (_: number, stage: Stage, k: number, x: number) =>
  (image[k]! - stage.denoised.x * x) / stage.denoised.model

/** These end at the lowest training sigma, not at 0. */
const endsNoisy = (name: SamplerName) => ['ddim', 'pndm', 'deis', 'tcd'].includes(name)
const lowestAlpha = 1 - 0.00085

const stepCounts = [1, 2, 3, 4, 5, 7, 11, 14, 15, 16, 20, 33, 50]

describe.each(samplerNames)('%s', (name) => {
  it('lands on the image if the model knows it, for any number of steps and any parametrisation', () => {
    for (const steps of stepCounts) {
      for (const prediction of ['epsilon', 'v_prediction', 'sample'] as const) {
        if (prediction !== 'epsilon' && name === 'pndm') continue // it mixes raw outputs, exact for ε alone
        const planned = plan(name, steps, { prediction })
        const final = run(planned, noised(planned.addNoise(0)), oracle, () => random)
        const level = endsNoisy(name)
          ? { signal: Math.sqrt(lowestAlpha), noise: Math.sqrt(1 - lowestAlpha) }
          : undefined
        const expected = level ? noised(level) : image
        const worst = Math.max(...final.map((value, k) => Math.abs(value - expected[k]!)))
        expect(worst, `${steps} steps, ${prediction}: ${final}`).toBeLessThan(5e-5)
      }
    }
  })

  it('walks along the noise levels that it announces, if it is deterministic', () => {
    const planned = plan(name, 9)
    const draws = planned.stages.some((stage) => stage.drawsNoise)
    if (draws || name.startsWith('kdpm2')) return // kdpm2 stops at half steps in between
    run(planned, noised(planned.addNoise(0)), oracle, undefined, (x, i) => {
      if (i + 1 === planned.stages.length) return
      const expected = noised(planned.addNoise(i + 1))
      for (let k = 0; k < 4; k++) expect(Math.abs(x[k]! - expected[k]!), `stage ${i}`).toBeLessThan(5e-5)
    })
  })

  it('starts in the middle for image-to-image, and still lands', () => {
    for (const strength of [0.3, 0.6, 1]) {
      const planned = plan(name, 10, { strength })
      const whole = plan(name, 10)
      expect(planned.timesteps).toEqual(whole.timesteps.slice(whole.timesteps.length - planned.timesteps.length))
      const final = run(planned, noised(planned.addNoise(0)), oracle, () => random)
      if (name.startsWith('lms') && strength < 1) continue // whose first steps are off there: see lms.ts
      const tolerance = endsNoisy(name) ? 0.1 : 5e-5
      for (let k = 0; k < 4; k++) expect(Math.abs(final[k]! - image[k]!)).toBeLessThan(tolerance)
    }
  })

  it('keeps within the machine’s slots, and names only slots and inputs', () => {
    const planned = plan(name, 12)
    expect(planned.slots[0]).toBe('x')
    expect(planned.slots.length).toBeLessThanOrEqual(7)
    const known = [...planned.slots, 'model', 'denoised', 'noise']
    for (const stage of planned.stages) {
      expect(stage.updates.length).toBeLessThanOrEqual(6)
      for (const { slot, terms } of stage.updates) {
        expect(planned.slots).toContain(slot)
        for (const term of Object.keys(terms)) expect(known).toContain(term)
        if (!stage.drawsNoise) expect(terms).not.toHaveProperty('noise')
      }
    }
  })

  it('takes every noise schedule, or says that it has none', () => {
    for (const schedule of scheduleNames) {
      const { className } = resolveSampler(name)
      if (schedule !== 'normal' && !('use_karras_sigmas' in schedulerClasses[className].defaults)) {
        expect(codeOf(() => plan(name, 10, { schedule }))).toBe('sampler/options')
        continue
      }
      const planned = plan(name, 10, { schedule })
      const final = run(planned, noised(planned.addNoise(0)), oracle, () => random)
      for (let k = 0; k < 4; k++) expect(Math.abs(final[k]! - image[k]!)).toBeLessThan(0.1)
    }
  })
})

function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof PhospheneError) return error.code
    throw error
  }
  return 'none'
}

/** k-diffusion's recurrences, on x = image + σ · noise, in doubles: an independent statement of the same solvers. */
describe('against k-diffusion’s form', () => {
  /** Not linear, so that orders matter. */
  const denoise = (x: number, sigma: number) => Math.tanh(x / Math.sqrt(sigma * sigma + 1)) * 0.8 + 0.1

  /** The same function as the epsilon that a variance-preserving stage expects. */
  const model = (planned: SamplingRun) => (_: number, stage: Stage, __: number, x: number) => {
    const sigma = planned.sigmas![planned.stages.indexOf(stage)]!
    const scale = Math.sqrt(sigma * sigma + 1)
    return (x * scale - denoise(x * scale, sigma)) / sigma
  }

  function recurrence(
    sigmas: readonly number[],
    start: number,
    step: (x: number, d: readonly number[], h: readonly number[], i: number) => number,
  ): number {
    let x = start
    const [outputs, widths]: [number[], number[]] = [[], []]
    for (let i = 0; i + 1 < sigmas.length; i++) {
      outputs.unshift(denoise(x, sigmas[i]!))
      widths.unshift(Math.log(sigmas[i]! / sigmas[i + 1]!))
      x = sigmas[i + 1] === 0 ? outputs[0]! : step(x, outputs, widths, i)
    }
    return x
  }

  it.each([5, 15, 20, 31])('DPM++ 2M, %i steps', (steps) => {
    // lower_order_final only tells in short runs, and k-diffusion has no such rule.
    const planned = plan('dpmpp_2m_karras', steps, { extra: { lower_order_final: false } })
    const sigmas = planned.sigmas!
    const scale = Math.sqrt(sigmas[0]! ** 2 + 1)
    const got = run(planned, epsilon, model(planned))
    for (let k = 0; k < 4; k++) {
      const want = recurrence(sigmas, epsilon[k]! * scale, (x, d, h, i) => {
        const ratio = sigmas[i + 1]! / sigmas[i]!
        const r = h[1]! / h[0]!
        const mixed = d.length === 1 ? d[0]! : (1 + 1 / (2 * r)) * d[0]! - (1 / (2 * r)) * d[1]!
        return ratio * x - Math.expm1(-h[0]!) * mixed
      })
      expect(Math.abs(got[k]! - want)).toBeLessThan(5e-6)
    }
  })

  it.each([5, 15, 20])('DPM++ 3M SDE, %i steps', (steps) => {
    const planned = plan('dpmpp_3m_sde', steps, { schedule: 'exponential' })
    const sigmas = planned.sigmas!
    const scale = Math.sqrt(sigmas[0]! ** 2 + 1)
    const noiseOf = (i: number) => random.map((value, k) => value * Math.cos(i + k))
    const got = run(planned, epsilon, model(planned), noiseOf)
    for (let k = 0; k < 4; k++) {
      const want = recurrence(sigmas, epsilon[k]! * scale, (x, d, h, i) => {
        const z = 2 * h[0]!
        const phi2 = Math.expm1(-z) / z + 1
        const phi3 = phi2 / z - 0.5
        let next = Math.exp(-z) * x - Math.expm1(-z) * d[0]!
        const [r0, r1] = [h[1]! / h[0]!, h[2]! / h[0]!]
        const near = (d[0]! - d[1]!) / r0
        const far = (d[1]! - d[2]!) / r1
        if (d.length === 2) next += phi2 * near
        if (d.length > 2) {
          next += phi2 * (near + ((near - far) * r0) / (r0 + r1)) - (phi3 * (near - far)) / (r0 + r1)
        }
        return next + noiseOf(i)[k]! * sigmas[i + 1]! * Math.sqrt(-Math.expm1(-z))
      })
      expect(Math.abs(got[k]! - want)).toBeLessThan(1e-5)
    }
  })

  it.each([
    ['dpmpp_2m', {}, 1.8],
    ['dpmpp_2m', { solver_type: 'heun' }, 1.8],
    ['dpmpp_2m', { algorithm_type: 'dpmsolver' }, 1.8],
    ['dpmpp_2m', { algorithm_type: 'dpmsolver', solver_type: 'heun' }, 1.8],
    // The published multistep D2 is half of the second derivative that its weight is for, so not quite third order.
    ['dpmpp_3m', {}, 2.5],
    ['dpmpp_3m', { algorithm_type: 'dpmsolver' }, 2.1],
    ['dpmpp_2s', {}, 1.8],
    ['dpmpp_2s', { algorithm_type: 'dpmsolver' }, 1.8],
    ['dpmpp_2s', { solver_order: 3, solver_type: 'heun' }, 2.8],
    ['dpmpp_2s', { solver_order: 3, solver_type: 'heun', algorithm_type: 'dpmsolver' }, 2.8],
    ['unipc', {}, 2.8], // the corrector adds one
    ['unipc', { solver_type: 'bh1' }, 2.8],
    ['unipc', { predict_x0: false }, 2.8],
    ['unipc', { solver_order: 3 }, 3.8],
    ['heun', {}, 1.8],
    ['kdpm2', {}, 1.8],
    ['deis', {}, 1.8],
    ['deis', { solver_order: 3 }, 2.8],
  ] as const)('%s %j converges with its order to the exact path', (name, special, order) => {
    // On even steps in log σ down to σ_min; log₂ of the errors' ratio is the order.
    const starts = [1.3, -0.4, 0.1, -1.1]
    const errorOf = (steps: number) => {
      const { final, sigmas } = finalOf(steps)
      return final.reduce((sum, x, k) => sum + Math.abs(x - exactly(starts[k]!, sigmas)), 0)
    }
    expect(Math.log2(errorOf(24) / errorOf(48))).toBeGreaterThan(order)

    /** Where the path from σ · start arrives, in the unscaled form: Runge-Kutta in log σ with many steps. */
    function exactly(start: number, sigmas: readonly number[]): number {
      const lowest = sigmas.findLast((sigma) => sigma > 0)!
      const step = Math.log(lowest / sigmas[0]!) / 2000
      let x = start * sigmas[0]!
      for (let i = 0; i < 2000; i++) {
        const slope = (at: number, y: number) => y - denoise(y, sigmas[0]! * Math.exp(at * step))
        const a = slope(i, x)
        const b = slope(i + 0.5, x + (step / 2) * a)
        const c = slope(i + 0.5, x + (step / 2) * b)
        x += (step / 6) * (a + 2 * b + 2 * c + slope(i + 1, x + step * c))
      }
      return sigmas.at(-1) === 0 ? denoise(x, lowest) : x
    }

    function finalOf(steps: number) {
      const extra = { final_sigmas_type: 'sigma_min', lower_order_final: false } as const
      const { defaults } = schedulerClasses[resolveSampler(name).className]
      const known = Object.fromEntries(Object.entries(extra).filter(([key]) => key in defaults))
      const planned = plan(name, steps, { extra: { ...known, ...special }, schedule: 'exponential' })
      const { noise } = planned.addNoise(0)
      const final = run(
        planned,
        starts.map((value) => value * noise),
        (_, stage, __, x) => {
          const sigma = -stage.denoised.model // of ε-prediction, in both scalings
          const unscale = stage.inputScale === 1 ? Math.sqrt(sigma * sigma + 1) : 1
          return (x * unscale - denoise(x * unscale, sigma)) / sigma
        },
      )
      const sigmas = planned.sigmas!
      const unscale = planned.stages[0]!.inputScale === 1 ? Math.sqrt(sigmas.at(-1)! ** 2 + 1) : 1
      return { final: Array.from(final, (x) => x * unscale), sigmas }
    }
  })
})

describe('options that cannot be', () => {
  it.each([
    ['no steps', () => plan('euler', 0)],
    ['half a step', () => plan('euler', 2.5)],
    ['NaN', () => plan('euler', Number.NaN)],
    ['eta without meaning', () => plan('euler', 10, { eta: 0.5 })],
    ['eta above 1', () => plan('ddim', 10, { eta: 1.5 })],
    ['strength above 1', () => plan('ddim', 10, { strength: 1.2 })],
    ['strength that leaves no step', () => plan('ddim', 2, { strength: 0.3 })],
    ['more steps than LCM was distilled on', () => plan('lcm', 51)],
    ['more steps than training had', () => plan('ddim', 1001)],
    ['PNDM of a model that predicts the sample', () => plan('pndm', 10, { prediction: 'sample' })],
    ['Runge-Kutta start in 3 steps', () => plan('pndm', 3, { extra: { skip_prk_steps: false } })],
    ['DPM-Solver to sigma 0', () => plan('dpmpp_2m', 10, { extra: { algorithm_type: 'dpmsolver' } })],
    ['order 4', () => plan('dpmpp_2m', 10, { extra: { solver_order: 4 } })],
    ['an option of another class', () => plan('ddim', 10, { extra: { use_karras_sigmas: true } })],
    ['two noise schedules', () => plan('euler_karras', 10, { extra: { use_beta_sigmas: true } })],
    [
      'epsilon at zero SNR',
      () => plan('ddim', 10, { extra: { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' } }),
    ],
  ])('%s', (_, action) => {
    expect(codeOf(action)).toBe('sampler/options')
  })

  it('accepts an eta of 0 for all samplers', () => {
    expect(plan('euler', 4, { eta: 0 })).toEqual({ ...plan('euler', 4), addNoise: expect.any(Function) })
  })
})

it('skips whole steps for image-to-image, of two stages where a step has two', () => {
  const whole = plan('heun', 10)
  expect(whole.stages).toHaveLength(19)
  const half = plan('heun', 10, { strength: 0.55 })
  expect(half.timesteps).toEqual(whole.timesteps.slice(10))
  expect(half.addNoise(0)).toEqual(whole.addNoise(10))
  expect(plan('pndm', 10, { strength: 0.6 }).timesteps).toEqual([601, 501, 401, 301, 201, 101, 1])
})

it('LCM keeps more of x where the timestep, scaled, is small: c_skip with σ_data = ½', () => {
  const { stages } = plan('lcm', 1, { extra: { original_inference_steps: 1000, timestep_scaling: 0.001 } })
  const [skip, out] = [0.25 / (0.999 ** 2 + 0.25), 0.999 / Math.sqrt(0.999 ** 2 + 0.25)]
  expect(stages[0]!.updates[0]!.terms.x).toBeCloseTo(skip, 12)
  expect(stages[0]!.updates[0]!.terms.denoised).toBeCloseTo(out, 12)
})

it('spaces as each class does (golden pitfalls 1 to 3)', () => {
  expect(plan('ddim', 4).timesteps).toEqual([751, 501, 251, 1])
  expect(plan('pndm', 4).timesteps).toEqual([751, 501, 501, 251, 1])
  expect(plan('euler', 4).timesteps).toEqual([999, 666, 333, 0])
  expect(plan('euler', 1).timesteps).toEqual([0])
  expect(plan('dpmpp_2m', 1).timesteps).toEqual([999])
  expect(plan('euler', 4).initNoiseSigma).toBeCloseTo(14.6146, 3)
  const leading = plan('euler', 4, { extra: { timestep_spacing: 'leading' } })
  expect(leading.initNoiseSigma * leading.stages[0]!.inputScale).toBeCloseTo(1, 12) // √(σ² + 1)
  expect(plan('ddim', 4).initNoiseSigma).toBe(1)
})
