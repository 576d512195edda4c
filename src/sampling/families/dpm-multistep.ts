// DPM-Solver and DPM-Solver++, multistep: A1111's DPM++ 2M, 2M SDE and 3M SDE.
import { trainingSigmas } from '../betas.ts'
import { levelOfSigma } from '../prediction.ts'
import { combine, difference, only, pushHistory } from '../row.ts'
import { intervalSchedule } from '../schedule.ts'
import type { Row } from '../stage.ts'
import { type Family, stageOf } from '../trajectory.ts'
import {
  checkOrder,
  convertedOutput,
  type Differences,
  denoisedAt,
  dpmUpdate,
  finalSigma,
  type Level,
  levelOf,
  unclippedSteps,
} from './dpm-solver.ts'

/** Lu et al. 2022, arXiv:2211.01095, algorithm 2 and its third-order sister. 'd1', 'd2' are earlier outputs. */
export const dpmMultistep: Family = ({ config, steps }) => {
  checkOrder(config.solver_order)
  const schedule = intervalSchedule(config, steps, unclippedSteps(config, trainingSigmas(config)))
  const sigmas = [...schedule.sigmas, finalSigma(config, schedule.sigmaMin)]
  const levels = sigmas.map(levelOf)
  const history = ['d1', 'd2'].slice(0, config.solver_order - 1)

  /** The last steps fall back to lower orders in short runs; a step to σ = 0 is always of first order. */
  function orderAt(i: number, done: number): number {
    const short = config.lower_order_final && steps < 15
    if (i === steps - 1 && (short || config.euler_at_final || sigmas[steps] === 0)) return 1
    return Math.min(config.solver_order, done + 1, i === steps - 2 && short ? 2 : 3)
  }

  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: 1,
    slots: ['x', ...history],
    order: 1,
    noiseAt: (i) => levelOfSigma(sigmas[i]!),
    stage(i, done) {
      const now = convertedOutput(config, sigmas[i]!)
      const order = orderAt(i, done)
      const midpoint = order === 2 && config.solver_type === 'midpoint'
      return stageOf({
        timestep: schedule.timesteps[i]!,
        denoised: denoisedAt(config, sigmas[i]!),
        x: dpmUpdate(config, levels[i]!, levels[i + 1]!, only('x'), backward(levels, i, now, order), midpoint),
        history: pushHistory(history, now),
        drawsNoise: config.algorithm_type.startsWith('sde'),
      })
    },
  }
}

/** Backward differences of the newest `order` outputs. */
function backward(levels: readonly Level[], i: number, now: Row, order: number): Differences {
  if (order === 1) return { d0: now }
  const h = levels[i + 1]!.lambda - levels[i]!.lambda
  const h0 = levels[i]!.lambda - levels[i - 1]!.lambda
  const recent = difference(h / h0, now, only('d1'))
  if (order === 2) return { d0: now, d1: recent }
  const h1 = levels[i - 1]!.lambda - levels[i - 2]!.lambda
  const older = difference(h / h1, only('d1'), only('d2'))
  return {
    d0: now,
    d1: combine([1, recent], [h0 / (h0 + h1), difference(1, recent, older)]),
    d2: difference(h / (h0 + h1), recent, older),
  }
}
