// What a sampler family provides; plan-sampling cuts a run out of it.
import type { SchedulerConfig } from './config.ts'
import type { NoiseLevel, Row, Stage, Update } from './stage.ts'

export interface TrajectoryOptions {
  readonly config: SchedulerConfig
  readonly steps: number
  /** Stochasticity: DDIM's η (default 0) or TCD's γ (default 0.3). */
  readonly eta?: number
}

/** The whole schedule, and its rows on demand: a run that starts in the middle warms its history up from there. */
export interface Trajectory {
  /** One per stage. */
  readonly timesteps: readonly number[]
  readonly sigmas?: readonly number[]
  readonly initNoiseSigma: number
  readonly slots: readonly string[]
  /** Stages a step: the unit in which image-to-image skips. */
  readonly order: 1 | 2
  /** Row of stage `i` when `done` stages ran before it. */
  stage(i: number, done: number): Stage
  /** Noise level of x before stage `i`. */
  noiseAt(i: number): NoiseLevel
}

export type Family = (options: TrajectoryOptions) => Trajectory

/** Fills in what most rows share. */
export function stageOf(
  row: Pick<Stage, 'timestep' | 'denoised'> & {
    readonly x: Row
    readonly history?: readonly Update[]
    readonly inputScale?: number
    readonly drawsNoise?: boolean
  },
): Stage {
  return {
    timestep: row.timestep,
    inputScale: row.inputScale ?? 1,
    denoised: row.denoised,
    updates: [{ slot: 'x', terms: row.x }, ...(row.history ?? [])],
    drawsNoise: row.drawsNoise ?? false,
  }
}

/** `x` starts with this deviation where it is not scaled to variance 1: Euler's and its sisters' rule. */
export function unscaledStart(config: SchedulerConfig, sigmas: readonly number[]): number {
  const max = Math.max(...sigmas)
  return config.timestep_spacing === 'leading' ? Math.sqrt(max * max + 1) : max
}
