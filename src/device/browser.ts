// The browser's adapter.
import { PhospheneError } from '../error.ts'
import { type Device, describe, deviceFrom } from './device.ts'

/** Opens the browser's GPU. Raises 'device/none' with what to do where there is no WebGPU. */
export async function openDevice(): Promise<Device> {
  const gpu = globalThis.navigator?.gpu
  if (!gpu)
    throw new PhospheneError({
      code: 'device/none',
      message: 'this browser offers no WebGPU here',
      fix: 'Use a current Chrome, Edge, Safari 26 or Firefox, over https:// or from localhost.',
    })
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  if (!adapter)
    throw new PhospheneError({
      code: 'device/none',
      message: 'the browser has WebGPU but found no GPU that it trusts',
      fix: 'Switch on hardware acceleration in the settings of the browser, or update the GPU driver.',
    })
  return deviceFrom(adapter, describe(adapter, 'GPU of this browser'), () => {})
}
