// The product's executor: plans a graph for a device, loads its weights, runs it in one submission.
import type { Device } from '../../device/device.ts'
import { PhospheneError } from '../../error.ts'
import type { Graph } from '../../graph/graph.ts'
import type { Capabilities } from '../../kernels/family.ts'
import { packTensor, unpackTensor } from '../../plan/layout.ts'
import { type Plan, planGraph } from '../../plan/plan.ts'
import type {
  Executor,
  HostTensor,
  LoadOptions,
  ParameterSource,
  Sampling,
  SamplingOptions,
  Session,
} from '../executor.ts'
import { Program, readBuffer } from './program.ts'
import { createSampling } from './sampling.ts'
import { throwIfAborted, uploadWeights } from './upload.ts'

export interface WebGpuOptions {
  /** Forces kernel variants by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
}

/** What kernels may depend on, of this device. */
export function capabilitiesOf(device: Device): Capabilities {
  const { shaderF16, subgroups, subgroupSize, matrixShapes, kind } = device.description
  return { limits: device.limits, shaderF16, subgroups, subgroupSize, matrixShapes, kind }
}

export class WebGpuSession implements Session {
  readonly graph: Graph
  readonly plan: Plan
  readonly program: Program

  constructor(plan: Plan, program: Program) {
    this.graph = plan.graph
    this.plan = plan
    this.program = program
  }

  get weightBytes(): number {
    return this.plan.weightBytes
  }

  get arenaBytes(): number {
    return this.plan.arenaBytes
  }

  /** Writes graph inputs; the device sees them with the next submission. */
  write(inputs: Readonly<Record<string, HostTensor>>): void {
    for (const [name, values] of Object.entries(inputs)) {
      const placement = this.plan.inputs.get(name)
      if (!placement) throw inputError(this.graph, name, 'is no input of this graph')
      const elements = placement.value.shape.reduce((a, b) => a * b, 1)
      if (values.length !== elements)
        throw inputError(
          this.graph,
          name,
          `has ${values.length} elements where [${placement.value.shape}] was expected`,
        )
      const packed = packTensor(values, placement.value.shape, placement.storage)
      this.program.device.gpu.queue.writeBuffer(this.program.inputBuffer(name), 0, packed)
    }
  }

  async run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const { device } = this.program
    throwIfAborted(signal)
    device.assertAlive()
    this.write(inputs)
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    this.program.encode(pass)
    pass.end()
    device.gpu.queue.submit([encoder.finish()])
    const results: Record<string, Float32Array> = {}
    for (const [name, placement] of this.plan.outputs) {
      const bytes = await readBuffer(device, this.program.outputBinding(placement))
      const { value, storage, stride4, offset4 } = placement
      results[name] = unpackTensor(bytes, value.shape, storage, stride4, offset4)
    }
    throwIfAborted(signal)
    return results
  }

  dispose(): void {
    this.program.dispose()
  }
}

function inputError(graph: Graph, name: string, what: string): PhospheneError {
  return new PhospheneError({
    code: 'internal',
    message: `${graph.name}: ${name} ${what}`,
    fix: `The inputs are ${[...graph.inputs.keys()].join(', ')}.`,
  })
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
