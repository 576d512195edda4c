// DPM-Solver and DPM-Solver++, singlestep: orders alternate 1, 2(, 3), each group starting from the group's first x.
import { trainingSigmas } from '../betas.ts'
import type { SchedulerConfig } from '../config.ts'
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

/** Lu et al. 2022, arXiv:2211.01095, algorithm 1 (DPM-Solver++(2S)). 'base' is the group's first x. */
export const dpmSinglestep: Family = ({ config, steps }) => {
  checkOrder(config.solver_order)
  const schedule = intervalSchedule(config, steps, unclippedSteps(config, trainingSigmas(config)))
  const sigmas = [...schedule.sigmas, finalSigma(config, schedule.sigmaMin)]
  const levels = sigmas.map(levelOf)
  const orders = orderList(config, steps, sigmas[steps]! === 0)
  const history = ['d1', 'd2'].slice(0, config.solver_order - 1)
  return {
    timesteps: schedule.timesteps,
    sigmas,
    initNoiseSigma: 1,
    slots: ['x', 'base', ...history],
    order: 1,
    noiseAt: (i) => levelOfSigma(sigmas[i]!),
    stage(i, done) {
      const now = convertedOutput(config, sigmas[i]!)
      const order = Math.min(orders[i]!, done + 1)
      const first = i - order + 1
      const midpoint = order === 2 && config.solver_type === 'midpoint'
      const start = only(order === 1 ? 'x' : 'base')
      const differences = forward(levels, i, now, order, config.solver_type === 'midpoint')
      return stageOf({
        timestep: schedule.timesteps[i]!,
        denoised: denoisedAt(config, sigmas[i]!),
        x: dpmUpdate(config, levels[first]!, levels[i + 1]!, start, differences, midpoint),
        history: [...(order === 1 ? [{ slot: 'base', terms: only('x') }] : []), ...pushHistory(history, now)],
        drawsNoise: config.algorithm_type.startsWith('sde'),
      })
    },
  }
}

/** Forward differences from the group's first point. */
function forward(levels: readonly Level[], i: number, now: Row, order: number, midpoint: boolean): Differences {
  if (order === 1) return { d0: now }
  const start = levels[i - order + 1]!.lambda
  const h = levels[i + 1]!.lambda - start
  const r0 = (levels[i]!.lambda - start) / h
  if (order === 2) return { d0: only('d1'), d1: difference(1 / r0, now, only('d1')) }
  const r1 = (levels[i - 1]!.lambda - start) / h
  const near = difference(1 / r1, only('d1'), only('d2'))
  const far = difference(1 / r0, now, only('d2'))
  if (midpoint) return { d0: only('d2'), d1: far }
  return {
    d0: only('d2'),
    d1: combine([r0 / (r0 - r1), near], [-r1 / (r0 - r1), far]),
    d2: difference(2 / (r0 - r1), far, near),
  }
}

/** The order of each stage; the last group is shortened so that a step to σ = 0 is of first order. */
function orderList(config: SchedulerConfig, steps: number, endsAtZero: boolean): number[] {
  const group = config.solver_order
  const cycle = (count: number) => Array.from({ length: count }, (_, i) => (i % group) + 1)
  if (!config.lower_order_final && !endsAtZero && steps % group === 0) return cycle(steps)
  if (group === 1) return cycle(steps)
  // The last two stages of a full group become a group of their own, so that order 1 comes last.
  if (group === 2) return steps % 2 === 0 ? [...cycle(steps - 1), 1] : cycle(steps)
  return steps % 3 === 0 ? [...cycle(steps - 1), 1] : cycle(steps)
}
