// A component planned as an executor plans it when it loads: in its two parts, within a limit where there is one.
import type { OptimiseOptions } from '../passes/passes.ts'
import { optimised } from '../pipeline/memory-limit.ts'
import { type Optimisations, passOptions } from '../pipeline/optimisations.ts'
import { type ArenaPlan, type PlanOptions, planGraph } from '../plan/plan.ts'
import { sharedChoices } from '../plan/shared-choices.ts'
import { switchedOff } from '../plan/switches.ts'
import { type MemoryLimit, planWithin } from '../plan/within.ts'
import type { ModelComponent } from './components.ts'

export interface PlannedComponent {
  readonly plan: ArenaPlan
  readonly prelude: ArenaPlan | undefined
  /** Inputs of both, what is kept for all steps among them, and what kernels read as constants. */
  readonly stateBytes: number
}

/** How a plan is made that another machine, or no machine, carries out. */
export type ComponentPlanning = PlanOptions & Pick<OptimiseOptions, 'fuse' | 'normaliseOnLoad'>

export function planningWith(optimisations: Optimisations = {}): Omit<ComponentPlanning, 'dtype' | 'capabilities'> {
  return { ranked: sharedChoices(switchedOff(optimisations)), ...passOptions(optimisations) }
}

/** Raises 'plan/too-large', and 'plan/memory' with the least that works. */
export function planComponent(
  { graph: whole, held }: Pick<ModelComponent, 'graph' | 'held'>,
  { fuse, normaliseOnLoad, ...options }: ComponentPlanning,
  limit?: MemoryLimit | undefined,
): PlannedComponent {
  const parts = optimised(whole, held, { fuse, normaliseOnLoad })
  const prelude = parts.prelude && planGraph(parts.prelude, { ...options, keepOutputs: true })
  const preludeBytes = prelude ? stateOf(prelude) : 0
  const memory = limit && { ...limit, besideBytes: limit.besideBytes + preludeBytes }
  const plan = planWithin(parts.graph, parts.frugal, options, memory)
  return { plan, prelude, stateBytes: stateOf(plan) + preludeBytes }
}

const stateOf = ({ inputBytes, constants }: ArenaPlan): number => inputBytes + constants.byteLength
