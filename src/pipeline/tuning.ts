// The tuner of a device, as the options ask for it.
import type { Device } from '../device/device.ts'
import type { TuningStore } from '../run/tuning-store.ts'
import { Tuner } from '../run/webgpu/tuner.ts'
import type { TuningOptions } from './tune-options.ts'

const defaultBudgetMs = 10_000

/** Undefined where estimates alone are to decide. */
export function tunerFor(
  device: Device,
  { tune = device.description.kind === 'gpu' ? 'full' : 'off', tuneBudgetMs = defaultBudgetMs }: TuningOptions,
  store: () => TuningStore,
): Tuner | undefined {
  return tune === 'off'
    ? undefined
    : new Tuner(device, { store: store(), budgetMs: tune === 'full' ? tuneBudgetMs : 0 })
}
