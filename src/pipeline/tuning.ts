// The tuner of a device, as the options ask for it.
import type { Device } from '../device/device.ts'
import type { TuningStore } from '../run/tuning-store.ts'
import { Tuner } from '../run/webgpu/tuner.ts'
import type { TuningOptions } from './tune-options.ts'

/** Software adapters are measured only when asked for, and compile slowly. */
const defaultBudgetMs = { gpu: 10_000, software: 60_000 } as const

/** Undefined where estimates alone are to decide. */
export function tunerFor(device: Device, options: TuningOptions, store: () => TuningStore): Tuner | undefined {
  const { kind } = device.description
  const { tune = kind === 'gpu' ? 'full' : 'off', tuneBudgetMs = defaultBudgetMs[kind] } = options
  if (tune === 'off') return undefined
  return new Tuner(device, { store: store(), budgetMs: tune === 'full' ? tuneBudgetMs : 0 })
}
