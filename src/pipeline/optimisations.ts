// What of the engine can be switched off when a pipeline is opened: to compare, or to do without what a driver gets wrong.
import { PhospheneError } from '../error.ts'
import { attentionKinds, type KernelSwitches, switchedOff } from '../plan/switches.ts'

export { attentionKinds }

/** What is left out is on. */
export interface Optimisations extends KernelSwitches {
  /** Whether nodes of the graph may be fused; off, every layer of the model is a node of its own. */
  readonly fusion?: boolean | undefined
}

/** Raises 'options/invalid'. */
export function checkOptimisations({ attention }: Optimisations): void {
  if (attention === undefined || attentionKinds.some((kind) => kind === attention)) return
  throw new PhospheneError({
    code: 'options/invalid',
    message: `attention is ${JSON.stringify(attention)}`,
    fix: `Use one of: ${attentionKinds.join(', ')}; or leave it out, to have the fastest chosen for each layer.`,
  })
}

/** Raises 'options/invalid' where kernels were switched off, for an executor that has others. */
export function refuseKernelSwitches(optimisations: Optimisations): void {
  if (!switchedOff(optimisations)) return
  throw new PhospheneError({
    code: 'options/invalid',
    message:
      "on the CPU the kernels are ONNX Runtime's: there is no Winograd, no attention and no matrix unit to switch",
    fix: 'Use device gpu or software, or leave these options out.',
  })
}
