// A WebGPU device as the pipeline's backend.
import type { Device } from '../device/device.ts'
import { PhospheneError } from '../error.ts'
import { optimise } from '../passes/passes.ts'
import { planGraph } from '../plan/plan.ts'
import { capabilitiesOf } from '../run/webgpu/capabilities.ts'
import { webgpuExecutor } from '../run/webgpu/executor.ts'
import type { Backend } from './backend-contract.ts'

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
