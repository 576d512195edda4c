// The product's executor: plans a graph for a device, loads its weights, runs it in one submission.
import type { Device } from '../../device/device.ts'
import type { Graph } from '../../graph/graph.ts'
import { type AskedKernel, type Plan, type PlanOptions, planGraph } from '../../plan/plan.ts'
import { type SharedChoices, sharedChoices } from '../../plan/shared-choices.ts'
import { planWithin } from '../../plan/within.ts'
import { throwIfAborted } from '../aborted.ts'
import type { Executor, LoadOptions, ParameterSource, Sampling, SamplingOptions, Session } from '../executor.ts'
import { weightFormat } from '../quantised-parameters.ts'
import { Arena } from './arena.ts'
import { capabilitiesOf } from './capabilities.ts'
import { loadPrograms } from './load-programs.ts'
import { webgpuProfiler } from './profile.ts'
import { createSampling, samplingBytes } from './sampling.ts'
import { WebGpuSession } from './session.ts'
import type { Tuner } from './tuner.ts'

export interface WebGpuOptions {
  /** Forces kernel variants by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
  /** Chooses kernels by other means than estimated cost. */
  readonly choose?: PlanOptions['choose']
  /** Shared with whoever else plans for the device without `variants`. */
  readonly ranked?: PlanOptions['ranked']
  /** Measures kernels of what is loaded; estimates alone decide without it. Of the executor's device. */
  readonly tuner?: Tuner | undefined
}

/** Runs graphs on a WebGPU device. The executor owns the device: `dispose` destroys it. */
export function webgpuExecutor(device: Device, { tuner, ...options }: WebGpuOptions = {}): Executor {
  const estimated = options.ranked ?? sharedChoices()
  const ranked = tuner?.ranked(estimated) ?? estimated
  const arena = new Arena(device)
  return {
    name: 'webgpu',
    description: device.description.name,
    profiler: webgpuProfiler(device),
    loadsBeside: device.description.kind === 'gpu',
    async load(graph: Graph, parameters: ParameterSource, load: LoadOptions): Promise<Session> {
      throwIfAborted(load.signal)
      const weights = weightFormat(load.weights, parameters)
      const planning = { dtype: load.dtype, weights, capabilities: capabilitiesOf(device), ...options, ranked }
      const planned = () => planInParts(graph, load, planning)
      await tuner?.prepare()
      const version = tuner?.version
      let plans = planned()
      if (load.memory && tuner) arena.release() // nothing runs meanwhile, and there is room for one of the two
      const estimates: SharedChoices = (family, request) => estimated(family, request, options.variants?.[family.op])
      await tuner?.measure(plans.asked, estimates, {
        signal: load.signal,
        memoryBytes: load.memory && load.memory.bytes - load.memory.besideBytes,
        onTuning: load.onTuning,
        onWarning: load.onWarning,
      })
      if (tuner?.version !== version) plans = planned()
      const programs = await loadPrograms(device, plans, parameters, load, arena)
      return new WebGpuSession(plans.plan, programs.program, programs.prelude)
    },
    async sampling(model: Session, sampling: SamplingOptions): Promise<Sampling> {
      if (!(model instanceof WebGpuSession)) throw new TypeError('the model was loaded by another executor')
      return createSampling(model, sampling)
    },
    samplingBytes: (shape, slots) => samplingBytes(device.description.kind, shape, slots),
    async dispose() {
      device.destroy()
    },
  }
}

interface Plans {
  readonly plan: Plan
  readonly prelude: Plan | undefined
  /** By both. */
  readonly asked: readonly AskedKernel[]
}

function planInParts(graph: Graph, load: LoadOptions, planning: PlanOptions): Plans {
  const asked = new Map<Graph | undefined, readonly AskedKernel[]>()
  const whole = {
    ...planning,
    keepOutputs: true,
    onRequests: (all: readonly AskedKernel[]) => asked.set(load.prelude, all),
  }
  const prelude = load.prelude && planGraph(load.prelude, whole)
  const besideBytes = prelude ? prelude.inputBytes + prelude.constants.byteLength : 0
  const memory = load.memory && { ...load.memory, besideBytes: load.memory.besideBytes + besideBytes }
  // Of the forms that are tried, the last is taken.
  const any = { ...planning, onRequests: (all: readonly AskedKernel[]) => asked.set(graph, all) }
  const plan = planWithin(graph, load.frugal ?? (() => []), any, memory)
  return { plan, prelude, asked: [...asked.values()].flat() }
}
