// ONNX Runtime's WebGPU provider on the adapter that the engine runs on: the peer that benchmarks compare with. Node only.
import type { Device } from '../device/device.ts'
import { offerDriver, softwareDriverManifest } from '../device/node-drivers.ts'
import { PhospheneError } from '../error.ts'
import type { Executor } from '../run/executor.ts'
import { onnxExecutor } from '../run/onnx/executor.ts'

/** ONNX Runtime opens its adapter once in a process, with the first session, and keeps it. */
let adapterOfProcess: string | undefined

/**
 * The provider by itself: nodes that it has no kernel for fail to load instead of going to the CPU, which would be another adapter.
 *
 * ONNX Runtime brings its own Dawn, takes no adapter by name and tells none: it sees the one software driver that is offered to
 * it until it is disposed, and of GPUs Dawn's first choice, as `openDevice` without a name does. Raises 'device/none' where that
 * cannot be.
 */
export async function openPeer({ description }: Device): Promise<Executor> {
  const { name, kind } = description
  if (adapterOfProcess !== undefined && adapterOfProcess !== name)
    throw elsewhere(
      `ONNX Runtime already runs on ${adapterOfProcess} in this process`,
      'Use a process for each adapter.',
    )
  const manifest = softwareDriverManifest(description)
  if (kind === 'software' && manifest === undefined)
    throw elsewhere(
      `ONNX Runtime cannot be told to use ${name}: the manifest of its Vulkan driver was not found`,
      "Set VK_DRIVER_FILES to the driver's .json file.",
    )
  const options = { provider: 'webgpu', providerAlone: true, segmentMacs: Number.POSITIVE_INFINITY } as const
  const executor = await onnxExecutor(options)
  adapterOfProcess = name
  const restore = manifest === undefined ? () => {} : offerDriver(manifest)
  return {
    ...executor,
    async dispose() {
      restore()
      await executor.dispose()
    },
  }
}

function elsewhere(message: string, fix: string): PhospheneError {
  return new PhospheneError({ code: 'device/none', message, fix })
}
