// The product's executor: plans a graph for a device, loads its weights, runs it in one submission.
import type { Device } from '../../device/device.ts'
import type { Graph } from '../../graph/graph.ts'
import { planGraph } from '../../plan/plan.ts'
import { throwIfAborted } from '../aborted.ts'
import type { Executor, LoadOptions, ParameterSource, Sampling, SamplingOptions, Session } from '../executor.ts'
import { capabilitiesOf } from './capabilities.ts'
import { Program } from './program.ts'
import { createSampling } from './sampling.ts'
import { WebGpuSession } from './session.ts'
import { uploadWeights } from './upload.ts'

export interface WebGpuOptions {
  /** Forces kernel variants by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
}

/** Runs graphs on a WebGPU device. The executor owns the device: `dispose` destroys it. */
export function webgpuExecutor(device: Device, options: WebGpuOptions = {}): Executor {
  return {
    name: 'webgpu',
    description: device.description.name,
    async load(graph: Graph, parameters: ParameterSource, load: LoadOptions): Promise<Session> {
      throwIfAborted(load.signal)
      const plan = planGraph(graph, { dtype: load.dtype, capabilities: capabilitiesOf(device), ...options })
      const pipelines = Program.pipelines(device, plan)
      pipelines.catch(() => {}) // reported by Program.create; uploading may fail first
      const weights = await uploadWeights(device, plan, parameters, load)
      return new WebGpuSession(plan, await Program.create(device, plan, weights, pipelines))
    },
    async sampling(model: Session, sampling: SamplingOptions): Promise<Sampling> {
      if (!(model instanceof WebGpuSession)) throw new TypeError('the model was loaded by another executor')
      return createSampling(model, sampling)
    },
    async dispose() {
      device.destroy()
    },
  }
}
