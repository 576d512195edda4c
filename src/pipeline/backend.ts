// A WebGPU device as the pipeline's backend.
import type { Device } from '../device/device.ts'
import { PhospheneError } from '../error.ts'
import { sharedChoices } from '../plan/shared-choices.ts'
import { switchedOff } from '../plan/switches.ts'
import { planWithin } from '../plan/within.ts'
import { capabilitiesOf } from '../run/webgpu/capabilities.ts'
import { webgpuExecutor } from '../run/webgpu/executor.ts'
import type { Tuner } from '../run/webgpu/tuner.ts'
import type { Backend } from './backend-contract.ts'
import { checkMemory, optimised } from './memory-limit.ts'
import { type Optimisations, passOptions } from './optimisations.ts'

/** @param tuner kernels are chosen by estimates unless given */
export function webgpuBackend(device: Device, optimisations: Optimisations = {}, tuner?: Tuner): Backend {
  const ranked = sharedChoices(switchedOff(optimisations))
  const executor = webgpuExecutor(device, { ranked, tuner })
  const passes = passOptions(optimisations)
  return {
    device: { kind: device.description.kind, name: device.description.name },
    executor,
    dtype: device.description.kind === 'gpu' ? 'f16' : 'f32', // software adapters compute in f32 either way
    obstacle: (dtype, memoryBytes) => (whole, use) => {
      try {
        if (memoryBytes !== undefined) checkMemory(whole, use, dtype, memoryBytes, passes)
        else {
          const { graph, frugal } = optimised(whole, use.held, passes)
          planWithin(graph, frugal, { dtype, capabilities: capabilitiesOf(device), ranked })
        }
        return undefined
      } catch (error) {
        if (error instanceof PhospheneError && error.code === 'plan/too-large') return error.message
        throw error
      }
    },
  }
}
