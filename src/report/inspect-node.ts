// Inspecting a folder on the disk, for the device that will run it. Node only.

import { openDevice } from '../device/node.ts'
import type { Capabilities } from '../kernels/family.ts'
import { openModel } from '../pipeline/model.ts'
import { nodeModel } from '../pipeline/node-model.ts'
import type { Optimisations } from '../pipeline/optimisations.ts'
import { capabilitiesOf } from '../run/webgpu/capabilities.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import { type ArchOptions, type ArchReport, inspectArch } from './arch.ts'
import type { PictureSize } from './components.ts'
import { type InspectReport, inspectModel } from './inspect.ts'

export interface InspectFolderOptions extends PictureSize {
  readonly dtype?: StorageDType | undefined
  readonly weights?: WeightFormat | undefined
  /** Undefined: any device that has WebGPU's defaults and nothing more. */
  readonly device?: 'gpu' | 'software' | undefined
  readonly adapter?: string | undefined
  /** Whether each component's plan is told step by step. */
  readonly details?: boolean | undefined
  /** For everything but weights. */
  readonly memoryBytes?: number | undefined
  /** What of the engine is switched off. */
  readonly optimisations?: Optimisations | undefined
}

/** The limits that every WebGPU device has (W3C WebGPU, 3.6.2), and no feature. */
const leastCapabilities: Capabilities = {
  limits: {
    maxComputeWorkgroupStorageSize: 16384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupsPerDimension: 65535,
    maxStorageBufferBindingSize: 134217728,
    maxStorageBuffersPerShaderStage: 8,
  },
  shaderF16: false,
  subgroups: false,
  subgroupSize: [4, 128],
  matrixShapes: [],
  kind: 'gpu',
}

/** Raises 'model/…', 'weights/…', 'device/none', 'plan/too-large'. */
export async function inspectFolder(path: string, options: InspectFolderOptions): Promise<InspectReport> {
  const model = await openModel(nodeModel(path))
  return forDevice(options, (capabilities) =>
    inspectModel(model, { ...options, dtype: options.dtype ?? 'f16', capabilities }),
  )
}

/** A well-known model (sd15, sd21, sdxl) or a folder's configs. Raises what `inspectArch` raises, 'device/none'. */
export function inspectArchitecture(
  arch: string,
  options: InspectFolderOptions & Pick<ArchOptions, 'batch'>,
): Promise<ArchReport> {
  return forDevice(options, (capabilities) =>
    inspectArch(arch, { ...options, dtype: options.dtype ?? 'f16', capabilities }),
  )
}

async function forDevice<T>(
  options: Pick<InspectFolderOptions, 'device' | 'adapter'>,
  report: (capabilities: Capabilities) => Promise<T>,
): Promise<T> {
  if (options.device === undefined) return report(leastCapabilities)
  const device = await openDevice({ kind: options.device, adapter: options.adapter })
  try {
    return await report(capabilitiesOf(device))
  } finally {
    device.destroy()
  }
}
