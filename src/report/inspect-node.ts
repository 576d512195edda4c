// Inspecting a folder on the disk, for the device that will run it. Node only.
import { openDevice } from '../device/node.ts'
import type { Capabilities } from '../kernels/family.ts'
import { openModel } from '../pipeline/model.ts'
import { capabilitiesOf } from '../run/webgpu/capabilities.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { nodeFolder } from '../weights/node-files.ts'
import { type InspectReport, inspectModel } from './inspect.ts'

export interface InspectFolderOptions {
  readonly width?: number | undefined
  readonly height?: number | undefined
  readonly count?: number | undefined
  readonly guided?: boolean | undefined
  readonly dtype?: StorageDType | undefined
  /** Undefined: any device that has WebGPU's defaults and nothing more. */
  readonly device?: 'gpu' | 'software' | undefined
  readonly adapter?: string | undefined
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
  const model = await openModel(nodeFolder(path))
  const report = (capabilities: Capabilities) =>
    inspectModel(model, { ...options, dtype: options.dtype ?? 'f16', capabilities })
  if (options.device === undefined) return report(leastCapabilities)
  const device = await openDevice({ kind: options.device, adapter: options.adapter })
  try {
    return await report(capabilitiesOf(device))
  } finally {
    device.destroy()
  }
}
