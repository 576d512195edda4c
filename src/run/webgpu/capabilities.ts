// What kernels may depend on, of a device.
import type { Device } from '../../device/device.ts'
import type { Capabilities } from '../../kernels/family.ts'

/** The limits and features that `supports` and `cost` of kernels read. */
export function capabilitiesOf(device: Device): Capabilities {
  const { shaderF16, subgroups, subgroupSize, matrixShapes, kind, driver } = device.description
  return { limits: device.limits, shaderF16, subgroups, subgroupSize, matrixShapes, kind, driver }
}
