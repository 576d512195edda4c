// Weights to the device, tensor by tensor: read, converted, rearranged, written, dropped. Never a whole file in memory.
import type { Device } from '../../device/device.ts'
import { PhospheneError } from '../../error.ts'
import type { Plan, PlannedWeight } from '../../plan/plan.ts'
import { toFloat16, toFloat32 } from '../../tensor/convert.ts'
import { f32ToF16 } from '../../tensor/dtype.ts'
import { throwIfAborted } from '../aborted.ts'
import type { LoadOptions, ParameterSource } from '../executor.ts'
import { devicePacking } from './device-packing.ts'

const storageUsage = 0x80 | 0x08 | 0x04 // STORAGE | COPY_DST | COPY_SRC

/** Dawn keeps freed staging memory until the next submit; settling this often bounds it (PLATFORM: seen in 0.6.2). */
const settleEveryBytes = 48 * 1024 * 1024

/** Fills one buffer for each of the plan's weights. Frees what it made when it fails or is aborted. */
export async function uploadWeights(
  device: Device,
  plan: Plan,
  parameters: ParameterSource,
  options: LoadOptions,
): Promise<GPUBuffer[]> {
  const buffers: GPUBuffer[] = []
  let done = 0
  let sinceSettled = 0
  // Software adapters permute no faster than the host, and would have to be waited for.
  const onDevice = device.description.kind === 'gpu' ? await devicePacking(device) : undefined
  try {
    await device.withinMemory(`the weights of ${plan.graph.name}`, async () => {
      const read = (i: number) => {
        const weight = plan.weights[i]
        const elements = weight && elementsOf(weight, parameters, options.dtype)
        elements?.catch(() => {}) // reported when its turn comes, unless another fails first
        return elements
      }
      let next = read(0)
      for (const [i, weight] of plan.weights.entries()) {
        throwIfAborted(options.signal)
        const buffer = device.buffer(weight.value.name, weight.bytes, storageUsage)
        buffers.push(buffer)
        const elements = (await next)!
        next = read(i + 1)
        if (onDevice) onDevice.pack(weight.layout, elements, buffer)
        else device.gpu.queue.writeBuffer(buffer, 0, packOnHost(weight, elements))
        done += weight.bytes
        sinceSettled += weight.bytes
        if (sinceSettled >= settleEveryBytes) {
          await device.settle()
          sinceSettled = 0
        }
        options.onProgress?.(done, plan.weightBytes)
      }
      await device.settle()
    })
  } catch (error) {
    for (const buffer of buffers) device.free(buffer)
    throw error
  } finally {
    onDevice?.dispose()
  }
  return buffers
}

function packOnHost({ layout }: PlannedWeight, elements: Float32Array | Uint16Array) {
  const packed = elements instanceof Float32Array ? new Float32Array(layout.elements) : new Uint16Array(layout.elements)
  layout.pack(elements, packed)
  return packed
}

async function elementsOf(
  weight: PlannedWeight,
  parameters: ParameterSource,
  dtype: LoadOptions['dtype'],
): Promise<Float32Array | Uint16Array> {
  const { value } = weight
  if (value.origin === 'constant') return dtype === 'f32' ? value.data! : f32ToF16(value.data!)
  const info = parameters.tensors.get(value.name)
  if (!info)
    throw new PhospheneError({
      code: 'weights/missing-key',
      message: `${parameters.label} has no tensor ${value.name}`,
      fix: 'Use the weights that belong to this config.json.',
    })
  const bytes = await parameters.read(value.name)
  return dtype === 'f32' ? toFloat32(bytes, info.dtype) : toFloat16(bytes, info.dtype)
}
