// What of the engine can be switched off when a pipeline is opened: to compare, or to do without what a driver gets wrong.
import { PhospheneError } from '../error.ts'
import type { OptimiseOptions } from '../passes/passes.ts'
import { attentionKinds, type KernelSwitches, switchedOff } from '../plan/switches.ts'

export { attentionKinds }

/** What is left out is on, unless said otherwise. */
export interface Optimisations extends KernelSwitches {
  /** Whether nodes of the graph may be fused; off, every layer of the model is a node of its own. */
  readonly fusion?: boolean | undefined
  /**
   * Whether products and convolutions apply the norm before them while they load (false unless given): fewer bytes moved, more
   * arithmetic. With layer norms alone a loss of 4 % of a step on an H200, whose memory is fast; for devices whose memory is not.
   */
  readonly normsOnLoad?: boolean | undefined
}

/** What the passes are told. */
export function passOptions({ fusion: fuse, normsOnLoad: normaliseOnLoad }: Optimisations = {}): OptimiseOptions {
  return { fuse, normaliseOnLoad }
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

/** Raises 'options/invalid' where kernels were switched, for an executor that has others. */
export function refuseKernelSwitches(optimisations: Optimisations): void {
  if (!switchedOff(optimisations) && !optimisations.normsOnLoad) return
  throw new PhospheneError({
    code: 'options/invalid',
    message:
      "on the CPU the kernels are ONNX Runtime's: there is no Winograd, no attention, no matrix unit and no norm on load to switch",
    fix: 'Use device gpu or software, or leave these options out.',
  })
}
