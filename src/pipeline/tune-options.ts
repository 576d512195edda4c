// Whether kernels are measured on the adapter, as people ask for it. No WebGPU types here: these declarations are public.
import { PhospheneError } from '../error.ts'

export const tuneModes = ['off', 'cached', 'full'] as const
/** 'full': measured where they were not yet; 'cached': what was measured before is used; 'off': estimates alone, always the same. */
export type TuneMode = (typeof tuneModes)[number]

export interface TuningOptions {
  /**
   * Whether kernels are measured on the adapter when a model is first loaded, and kept by adapter and driver: 'full'; or only what
   * was kept is used: 'cached'; or neither: 'off'. 'full' on a real GPU unless given, 'off' on software adapters.
   */
  readonly tune?: TuneMode | undefined
  /** The most milliseconds to spend on it (10,000 unless given, 60,000 on software adapters). What was not measured by then keeps its estimate. */
  readonly tuneBudgetMs?: number | undefined
}

/** Raises 'options/invalid'. */
export function checkTuning(tune: TuneMode | undefined): void {
  if (tune === undefined || tuneModes.includes(tune)) return
  throw new PhospheneError({
    code: 'options/invalid',
    message: `tune is ${JSON.stringify(tune)}`,
    fix: `Use one of: ${tuneModes.join(', ')}; or leave it out: full on a GPU, off on software adapters.`,
  })
}
