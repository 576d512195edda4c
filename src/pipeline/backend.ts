// An executor with what the pipeline must know about it: the precision that suits it, and what does not fit.
import type { Device } from '../device/device.ts'
import { PhospheneError } from '../error.ts'
import { optimise } from '../passes/passes.ts'
import { planGraph } from '../plan/plan.ts'
import type { Executor, Session } from '../run/executor.ts'
import { capabilitiesOf, webgpuExecutor } from '../run/webgpu/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'

/** A graph, as models make it and executors take it. */
export type Graph = Session['graph']

/** Why a graph does not fit, or undefined where it does. */
export type Obstacle = (graph: Graph) => string | undefined

/** What a pipeline runs on, for people. */
export interface DeviceSummary {
  readonly kind: 'gpu' | 'software' | 'cpu'
  readonly name: string
}

export interface Backend {
  readonly device: DeviceSummary
  readonly executor: Executor
  /** What `auto` means here. */
  readonly dtype: StorageDType
  obstacle(dtype: StorageDType): Obstacle
}

export function webgpuBackend(device: Device): Backend {
  return {
    device: { kind: device.description.kind, name: device.description.name },
    executor: webgpuExecutor(device),
    dtype: device.description.kind === 'gpu' ? 'f16' : 'f32', // software adapters compute in f32 either way
    obstacle: (dtype) => (graph) => {
      try {
        planGraph(optimise(graph), { dtype, capabilities: capabilitiesOf(device) })
        return undefined
      } catch (error) {
        if (error instanceof PhospheneError && error.code === 'plan/too-large') return error.message
        throw error
      }
    },
  }
}
