// Weights to the device, tensor by tensor. Never a whole file in memory.
import type { Device } from '../../device/device.ts'
import type { Plan } from '../../plan/plan.ts'
import type { LoadOptions, ParameterSource } from '../executor.ts'
import { withStacked } from '../stacked-parameters.ts'
import { preparePacking } from './device-packing.ts'
import { packedUpload } from './host-packing.ts'
import { incoming } from './incoming.ts'
import { mappedUpload } from './mapped-upload.ts'

const storageUsage = 0x80 | 0x08 | 0x04 // STORAGE | COPY_DST | COPY_SRC

/** Fills one buffer for each weight of each plan. Frees what it made when it fails or is aborted. */
export async function uploadWeights(
  device: Device,
  plans: readonly Plan[],
  parameters: ParameterSource,
  options: LoadOptions,
): Promise<GPUBuffer[][]> {
  const sources = plans.flatMap((plan) => {
    const all = withStacked(plan.graph, parameters)
    return plan.weights.map((weight) => incoming(weight, all))
  })
  // Software adapters permute no faster than the host.
  const onDevice = device.description.kind === 'gpu'
  if (onDevice)
    for (const from of new Set(sources.map(({ dtype }) => dtype)))
      if (from !== 'packed') preparePacking(device, from, options.dtype).catch(() => {}) // raised where it is used
  const targets = await device.allocate(
    `the weights of ${plans[0]!.graph.name}`,
    storageUsage,
    sources.map(({ weight: { value, bytes } }) => ({ label: value.name, bytes })),
  )
  // In the order of the file, which a disk reads fastest.
  const order = sources.map((_, i) => i).sort((a, b) => sources[a]!.place - sources[b]!.place)
  const total = plans.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  let done = 0
  try {
    await (onDevice ? mappedUpload : packedUpload)(
      device,
      order.map((i) => sources[i]!),
      order.map((i) => targets[i]!),
      {
        ...options,
        onWeight(at) {
          done += sources[order[at]!]!.weight.bytes
          options.onProgress?.(done, total)
        },
      },
    )
  } catch (error) {
    for (const target of targets) device.free(target)
    throw error
  }
  let end = 0
  return plans.map(({ weights }) => {
    const start = end
    end += weights.length
    return targets.slice(start, end)
  })
}
