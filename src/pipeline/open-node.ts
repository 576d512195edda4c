// Opening a pipeline in Node: a folder on the disk, a GPU through Dawn, a software adapter, or the CPU through ONNX Runtime.
import { totalmem } from 'node:os'
import { type AdapterReport, listAdapters, openDevice } from '../device/node.ts'
import { PhospheneError } from '../error.ts'
import { nodeTuningStore } from '../run/node-tuning-store.ts'
import { onnxExecutor } from '../run/onnx/executor.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { webgpuBackend } from './backend.ts'
import type { Backend } from './backend-contract.ts'
import { leastHostBytes } from './host-memory.ts'
import { checkMemory } from './memory-limit.ts'
import { checkVae, type ModelParts, nodeModel } from './node-model.ts'
import { type CommonOptions, openTextToImage } from './open.ts'
import { type Optimisations, passOptions, refuseKernelSwitches } from './optimisations.ts'
import type { TextToImage } from './text-to-image.ts'
import { tunerFor } from './tuning.ts'

export const deviceChoices = ['auto', 'gpu', 'cpu', 'software'] as const
/** 'auto': a real GPU, else the CPU. 'software': a Vulkan driver that computes on the CPU, to try the GPU's kernels. */
export type DeviceChoice = (typeof deviceChoices)[number]

export interface OpenOptions extends CommonOptions, ModelParts {
  readonly device?: DeviceChoice | undefined
  /** Part of the adapter's name, as `phosphene doctor` prints it. */
  readonly adapter?: string | undefined
  /** Told which device was chosen, and why where the choice was open. */
  readonly onDevice?: ((choice: string) => void) | undefined
}

/**
 * A pipeline for a model: the path of a diffusers folder or of a checkpoint in one .safetensors file, or files from elsewhere. Raises 'model/…', 'tokenizer/…' and
 * 'device/none'. Weights are loaded when the first picture is drawn.
 */
export async function openPipeline(model: string | ModelFiles, options: OpenOptions = {}): Promise<TextToImage> {
  const files = typeof model === 'string' ? nodeModel(model, options) : model
  if (options.vae !== undefined) await checkVae(options.vae)
  return openTextToImage(files, options.dtype, () => openBackend(options), options)
}

async function openBackend({
  device = 'auto',
  adapter,
  optimisations = {},
  onDevice = () => {},
  ...tuning
}: OpenOptions): Promise<Backend> {
  const onAdapter = async (kind: 'gpu' | 'software') => {
    const opened = await openDevice({ kind, adapter })
    return webgpuBackend(opened, optimisations, tunerFor(opened, tuning, nodeTuningStore))
  }
  switch (device) {
    case 'cpu': {
      if (adapter !== undefined)
        throw new PhospheneError({
          code: 'options/invalid',
          message: `adapter "${adapter}" was asked for with device cpu, which has no adapters`,
          fix: 'Leave the adapter out, or use device gpu or software.',
        })
      refuseKernelSwitches(optimisations)
      const backend = await cpuBackend(optimisations)
      onDevice(backend.device.name)
      return backend
    }
    case 'gpu':
    case 'software': {
      const backend = await onAdapter(device)
      onDevice(backend.device.name)
      return backend
    }
    case 'auto': {
      const adapters = await listAdapters()
      const wanted = adapter?.toLowerCase()
      const found = adapters.find(
        (each) => each.kind === 'gpu' || (wanted !== undefined && each.name.toLowerCase().includes(wanted)),
      )
      if (found || adapter !== undefined) {
        const backend = await onAdapter(found?.kind ?? 'gpu')
        onDevice(`${backend.device.name} (${adapter === undefined ? 'the first GPU found' : 'as asked'})`)
        return backend
      }
      refuseKernelSwitches(optimisations)
      const backend = await cpuBackend(optimisations)
      onDevice(`${backend.device.name}: ${whyCpu(adapters)}`)
      return backend
    }
    default:
      throw new PhospheneError({
        code: 'options/invalid',
        message: `device is ${JSON.stringify(device)}`,
        fix: `Use one of: ${deviceChoices.join(', ')}.`,
      })
  }
}

function whyCpu(adapters: readonly AdapterReport[]): string {
  if (adapters.length === 0) return 'no GPU found, run `phosphene doctor` to see what is missing'
  return `no GPU found; ${adapters.map((each) => each.name).join(', ')} would be slower`
}

/** ONNX Runtime on this machine's CPU. */
export async function cpuBackend(optimisations: Optimisations = {}): Promise<Backend> {
  const executor = await onnxExecutor()
  return {
    device: { kind: 'cpu', name: executor.description },
    executor,
    dtype: 'f32',
    obstacle: (dtype, memoryBytes) => (graph, use) => {
      if (memoryBytes !== undefined) checkMemory(graph, use, dtype, memoryBytes, passOptions(optimisations))
      const [needed, there] = [leastHostBytes(graph), totalmem()]
      return needed > there
        ? `${graph.name} needs more than ${gigabytes(needed)} of memory on the CPU, this machine has ${gigabytes(there)}`
        : undefined
    },
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`
}
