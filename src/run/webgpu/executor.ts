// The product's executor: plans a graph for a device, loads its weights, runs it in one submission.
import type { Device } from '../../device/device.ts'
import type { Graph } from '../../graph/graph.ts'
import { type PlanOptions, planGraph } from '../../plan/plan.ts'
import { sharedChoices } from '../../plan/shared-choices.ts'
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

export interface WebGpuOptions {
  /** Forces kernel variants by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
  /** Chooses kernels by other means than estimated cost. */
  readonly choose?: PlanOptions['choose']
  /** Shared with whoever else plans for the device without `variants`. */
  readonly ranked?: PlanOptions['ranked']
}

/** Runs graphs on a WebGPU device. The executor owns the device: `dispose` destroys it. */
export function webgpuExecutor(device: Device, options: WebGpuOptions = {}): Executor {
  const ranked = options.ranked ?? sharedChoices()
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
      const prelude = load.prelude && planGraph(load.prelude, { ...planning, keepOutputs: true })
      const besideBytes = prelude ? prelude.inputBytes + prelude.constants.byteLength : 0
      const memory = load.memory && { ...load.memory, besideBytes: load.memory.besideBytes + besideBytes }
      const plan = planWithin(graph, load.frugal ?? (() => []), planning, memory)
      const programs = await loadPrograms(device, { plan, prelude }, parameters, load, arena)
      return new WebGpuSession(plan, programs.program, programs.prelude)
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
