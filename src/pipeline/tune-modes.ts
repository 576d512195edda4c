// Whether kernels are measured on the adapter, as people ask for it.
import { PhospheneError } from '../error.ts'

export const tuneModes = ['off', 'cached', 'full'] as const
/** 'full': measured where they were not yet; 'cached': what was measured before is used; 'off': estimates alone, always the same. */
export type TuneMode = (typeof tuneModes)[number]

/** Raises 'options/invalid'. */
export function checkTuning(tune: TuneMode | undefined): void {
  if (tune === undefined || tuneModes.includes(tune)) return
  throw new PhospheneError({
    code: 'options/invalid',
    message: `tune is ${JSON.stringify(tune)}`,
    fix: `Use one of: ${tuneModes.join(', ')}; or leave it out: full on a GPU, off on software adapters.`,
  })
}
