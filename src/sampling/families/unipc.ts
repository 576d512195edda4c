// UniPC: each stage corrects the last step with the new model output, then predicts the next.
import { PhospheneError } from '../../error.ts'
import { denoisedOf, epsilonOf, levelOfSigma } from '../prediction.ts'
import { combine, difference, only, pushHistory } from '../row.ts'
import { intervalSchedule } from '../schedule.ts'
import type { Row } from '../stage.ts'
import { type Family, stageOf } from '../trajectory.ts'
import { levelOf } from './dpm-solver.ts'

/**
 * Zhao et al. 2023, arXiv:2302.04867, algorithms 5 to 8 (B1 = bh1, B2 = bh2).
 * 'last' is the corrected x of the stage before, 'd1'… the outputs of the stages before.
 */
export const unipc: Family = ({ config, steps }) => {
  if (config.solver_order > 4) {
    throw new PhospheneError({
      code: 'sampler/options',
      message: `solver_order is ${config.solver_order}, more history than a run keeps`,
      fix: 'Set solver_order to 1, 2 or 3.',
    })
  }
  const schedule = intervalSchedule(config, steps)
  const chosen = config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas
  const lowest = chosen ? schedule.sigmas.at(-1)! : schedule.sigmaMin
  const sigmas = [...schedule.sigmas, config.final_sigmas_type === 'zero' ? 0 : lowest]
  const levels = sigmas.map(levelOf)
  const history = Array.from({ length: config.solver_order }, (_, k) => `d${k + 1}`)

  /** UniP's order at a stage, and UniC's at the next. */
  function orderAt(i: number, done: number): number {
    return Math.min(config.solver_order, done + 1, config.lower_order_final ? steps - i : Number.POSITIVE_INFINITY)
  }

  /** Predictor and corrector in one: from level `i` to `i + 1`, `outputs` newest first, `arrived` only in UniC. */
  function update(i: number, order: number, x: Row, outputs: readonly Row[], arrived?: Row): Row {
    const [from, to] = [levels[i]!, levels[i + 1]!]
    const h = to.lambda - from.lambda
    const [hh, scale] = config.predict_x0 ? [-h, to.alpha] : [h, to.sigma]
    const phi1 = Math.expm1(hh)
    const b = config.solver_type === 'bh1' ? hh : phi1
    const m0 = outputs[0]!
    const earlier = Array.from({ length: order - 1 }, (_, k) => (levels[i - k - 1]!.lambda - from.lambda) / h)
    const slopes = earlier.map((ratio, k) => difference(1 / ratio, outputs[k + 1]!, m0))
    if (arrived) slopes.push(difference(1, arrived, m0))
    const ratios = arrived ? [...earlier, 1] : earlier
    // One difference alone gets the weight ½ without solving, as in the authors' code.
    const weights = ratios.length === 1 ? [0.5] : solve(vandermonde(ratios), moments(ratios.length, hh, b))
    return combine(
      [config.predict_x0 ? to.sigma / from.sigma : to.alpha / from.alpha, x],
      [-scale * phi1, m0],
      ...slopes.map((slope, k) => [-scale * b * weights[k]!, slope] as const),
    )
  }

  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: 1,
    slots: ['x', 'last', ...history],
    order: 1,
    noiseAt: (i) => levelOfSigma(sigmas[i]!),
    stage(i, done) {
      const level = levelOfSigma(sigmas[i]!)
      const now = config.predict_x0 ? only('denoised') : epsilonOf(config.prediction_type, level)
      const past = history.map(only)
      const corrects = done > 0 && !config.disable_corrector.includes(i - 1)
      const x = corrects ? update(i - 1, orderAt(i - 1, done - 1), only('last'), past, now) : only('x')
      return stageOf({
        timestep: schedule.timesteps[i]!,
        denoised: denoisedOf(config.prediction_type, level),
        x: update(i, orderAt(i, done), x, [now, ...past]),
        history: [{ slot: 'last', terms: x }, ...pushHistory(history, now)],
      })
    },
  }
}

/** Rows of powers 0, 1, … of the ratios. */
function vandermonde(ratios: readonly number[]): number[][] {
  return ratios.map((_, power) => ratios.map((ratio) => ratio ** power))
}

/** n! · φ_{n+1}(hh) · hh / B for n = 1 …: what the weights' moments have to be. */
function moments(count: number, hh: number, b: number): number[] {
  let phi = Math.expm1(hh) / hh - 1
  let factorial = 1
  return Array.from({ length: count }, (_, k) => {
    const moment = (phi * factorial) / b
    factorial *= k + 2
    phi = phi / hh - 1 / factorial
    return moment
  })
}

/** Gauss elimination; the matrices are at most 4 × 4 and, being Vandermonde's, regular. */
function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length
  for (let column = 0; column < n; column++) {
    const below = Array.from({ length: n - column }, (_, k) => column + k)
    const pivot = below.reduce((best, row) =>
      Math.abs(matrix[row]![column]!) > Math.abs(matrix[best]![column]!) ? row : best,
    )
    ;[matrix[column], matrix[pivot]] = [matrix[pivot]!, matrix[column]!]
    ;[right[column], right[pivot]] = [right[pivot]!, right[column]!]
    for (let row = 0; row < n; row++) {
      if (row === column) continue
      const factor = matrix[row]![column]! / matrix[column]![column]!
      for (let k = column; k < n; k++) matrix[row]![k]! -= factor * matrix[column]![k]!
      right[row]! -= factor * right[column]!
    }
  }
  return right.map((value, row) => value / matrix[row]![row]!)
}
