// The tuner of a device, as the options ask for it.
import type { Device } from '../device/device.ts'
import type { TuningStore } from '../run/tuning-store.ts'
import { Tuner } from '../run/webgpu/tuner.ts'
import type { TuneMode } from './tune-modes.ts'

export interface TuningOptions {
  /**
   * Whether kernels are measured on the adapter when a model is first loaded, and kept by adapter and driver: 'full'; or only what
   * was kept is used: 'cached'; or neither: 'off'. 'full' on a real GPU unless given, 'off' on software adapters.
   */
  readonly tune?: TuneMode | undefined
  /** The most milliseconds to spend on it (10,000 unless given). What was not measured by then keeps its estimate. */
  readonly tuneBudgetMs?: number | undefined
}

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
