// PNDM: pseudo linear multistep (A1111's PLMS), with or without the Runge-Kutta start.
import { PhospheneError } from '../../error.ts'
import { alphaAt, alphasCumprod } from '../betas.ts'
import type { SchedulerConfig } from '../config.ts'
import { denoisedOf, levelOfAlpha } from '../prediction.ts'
import { combine, only, pushHistory } from '../row.ts'
import { spacedTimesteps } from '../spacing.ts'
import type { Row, Update } from '../stage.ts'
import { type Family, stageOf } from '../trajectory.ts'

/** Fourth-order Runge-Kutta's weights, and those of Adams-Bashforth by length of history (newest first). */
const rungeKutta = [1 / 6, 1 / 3, 1 / 3, 1 / 6]
const adamsBashforth = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
] as const

/** Liu et al. 2022, arXiv:2202.09778, algorithm 2; the transfer φ is equation 11. `e1`… hold earlier model outputs. */
export const pndm: Family = ({ config, steps }) => {
  if (config.prediction_type === 'sample') {
    throw new PhospheneError({
      code: 'sampler/options',
      message: 'PNDMScheduler mixes predictions of noise; the model predicts the sample itself',
      fix: 'Choose another sampler.',
    })
  }
  const alphas = alphasCumprod(config)
  const stride = Math.floor(config.num_train_timesteps / steps)
  const { timesteps, rungeKuttaStages } = pndmTimesteps(config, steps, stride)
  const finalAlpha = config.set_alpha_to_one ? 1 : alphas[0]!
  const history = ['e1', 'e2', 'e3']

  /** φ: from `start` (the row of x) at `from` to `to`, along `output`, the mixed model outputs. */
  function transfer(start: Row, output: Row, from: number, to: number): Row {
    const alpha = alphaAt(alphas, from)
    const next = to >= 0 ? alphas[to]! : finalAlpha
    const level = levelOfAlpha(alpha)
    const epsilon =
      config.prediction_type === 'epsilon' ? output : combine([level.signal, output], [level.noise, start])
    const denominator = alpha * Math.sqrt(1 - next) + Math.sqrt(alpha * (1 - alpha) * next)
    return combine([Math.sqrt(next / alpha), start], [-(next - alpha) / denominator, epsilon])
  }

  /** The four stages of one Runge-Kutta step all start at its first stage's x, kept in 'base'. */
  function rungeKuttaRow(timestep: number, done: number): { x: Row; history: Update[] } {
    const k = done % 4
    const start = k === 0 ? only('x') : only('base')
    const from = timesteps[Math.floor(done / 4) * 4]!
    const to = timestep - (done % 2 ? 0 : Math.floor(stride / 2))
    const sum = combine([k === 0 ? 0 : 1, only('sum')], [rungeKutta[k]!, only('model')])
    return {
      x: transfer(start, k === 3 ? sum : only('model'), from, to),
      history: [
        { slot: 'sum', terms: k === 3 ? {} : sum },
        ...(k === 0 ? [{ slot: 'base', terms: only('x') }, ...pushHistory(history, only('model'))] : []),
      ],
    }
  }

  function multistepRow(timestep: number, done: number): { x: Row; history: Update[] } {
    if (rungeKuttaStages === 0 && done === 1) {
      // The second call repeats the first step with the mean of both slopes; its output is not kept.
      const mean = combine([1 / 2, only('model')], [1 / 2, only('e1')])
      return { x: transfer(only('base'), mean, timestep + stride, timestep), history: [] }
    }
    const known = rungeKuttaStages === 0 ? Math.max(done - 1, 0) : done - rungeKuttaStages + rungeKuttaStages / 4
    const weights = adamsBashforth[Math.min(known, 3)]!
    const outputs = [only('model'), ...history.map(only)]
    const mixed = combine(...weights.map((weight, k) => [weight, outputs[k]!] as const))
    return {
      x: transfer(only('x'), mixed, timestep, timestep - stride),
      history: [...(done === 0 ? [{ slot: 'base', terms: only('x') }] : []), ...pushHistory(history, only('model'))],
    }
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    slots: ['x', 'base', ...(rungeKuttaStages ? ['sum'] : []), ...history],
    order: 1,
    noiseAt: (i) => levelOfAlpha(alphaAt(alphas, timesteps[i]!)),
    stage(i, done) {
      const timestep = timesteps[i]!
      const row = done < rungeKuttaStages ? rungeKuttaRow(timestep, done) : multistepRow(timestep, done)
      const level = levelOfAlpha(alphaAt(alphas, timestep))
      return stageOf({ timestep, denoised: denoisedOf(config.prediction_type, level), ...row })
    },
  }
}

/** The second timestep is visited twice; or the first three steps are Runge-Kutta's, of four calls each. */
function pndmTimesteps(config: SchedulerConfig, steps: number, stride: number) {
  const rising = spacedTimesteps(config, steps, 'points').reverse()
  if (config.skip_prk_steps) {
    return {
      timesteps: [...rising.slice(0, -1), ...rising.slice(-2, -1), rising.at(-1)!].reverse(),
      rungeKuttaStages: 0,
    }
  }
  if (steps < 4) {
    throw new PhospheneError({
      code: 'sampler/options',
      message: `PNDMScheduler with its Runge-Kutta start needs at least 4 steps, not ${steps}`,
      fix: 'Use 4 steps or more, or another sampler.',
    })
  }
  const halves = rising.slice(-4).flatMap((timestep) => [timestep, timestep + Math.floor(stride / 2)])
  const prk = halves
    .slice(0, -1)
    .flatMap((timestep) => [timestep, timestep])
    .slice(1, -1)
    .reverse()
  return { timesteps: [...prk, ...rising.slice(0, -3).reverse()], rungeKuttaStages: prk.length }
}
