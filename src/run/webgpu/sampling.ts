// A sampler beside its model on the device: a step is one submission, latents and history never leave.
import { PhospheneError } from '../../error.ts'
import type { Operand } from '../../kernels/family.ts'
import {
  coefficientCount,
  type SamplingBinding,
  type SamplingDispatch,
  samplerCoefficients,
  slotStride,
} from '../../kernels/sampling/coefficients.ts'
import { guidanceRescaleDispatch } from '../../kernels/sampling/guidance-rescale.ts'
import { modelInputDispatch } from '../../kernels/sampling/model-input.ts'
import { samplerRowDispatch } from '../../kernels/sampling/sampler-row.ts'
import { rowLayout } from '../../plan/layout.ts'
import type { Placement } from '../../plan/plan.ts'
import { throwIfAborted } from '../aborted.ts'
import type { Sampling, SamplingOptions } from '../executor.ts'
import { capabilitiesOf } from './capabilities.ts'
import { type Command, encodeCommands } from './program.ts'
import type { WebGpuSession } from './session.ts'

const usage = { storage: 0x80 | 0x08 | 0x04, end: 0x01 | 0x08 } // STORAGE | COPY_DST | COPY_SRC, MAP_READ | COPY_DST
const mapForReading = 1

/**
 * Steps that are queued at once. A GPU that has the next one never waits for the host, and Ctrl-C not long for the GPU. A software
 * adapter has no time of its own to lose.
 */
const depths = { gpu: 2, software: 1 } as const

/** Floats in each buffer of a sampler. */
function floatsOf(shape: readonly number[], slots: number) {
  const stride = slotStride(elementsOf(shape))
  return { state: slots * stride, noise: stride, coefficients: coefficientCount(slots), factors: shape[0]!, flags: 1 }
}

const elementsOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** Bytes in which the host sees a step's latents and its flag. */
const endBytes = (shape: readonly number[]) => elementsOf(shape) * 4 + 4

/** Bytes that a sampler of so many slots keeps beside its model. */
export function samplingBytes(kind: keyof typeof depths, shape: readonly number[], slots: number): number {
  const floats = Object.values(floatsOf(shape, slots)).reduce((a, b) => a + b, 0)
  return floats * 4 + depths[kind] * endBytes(shape)
}

/** Prepares the sampler's buffers and kernels around a loaded model. */
export async function createSampling(model: WebGpuSession, options: SamplingOptions): Promise<Sampling> {
  const { program, plan } = model
  const { device } = program
  const { shape, slots, branches, guidanceScale, guidanceRescale } = options
  const elements = elementsOf(shape)
  const stride = slotStride(elements)
  const input = named(plan.inputs, options.modelInput, model)
  const output = named(plan.outputs, options.modelOutput, model)
  const rescaled = branches === 2 && guidanceRescale > 0
  const capabilities = capabilitiesOf(device)

  const floats = floatsOf(shape, slots.length)
  const names = Object.keys(floats) as (keyof typeof floats)[]
  const buffers = await device.allocate(
    'the latents',
    usage.storage,
    names.map((name) => ({ label: `sampling ${name}`, bytes: floats[name] * 4 })),
  )
  const owned = Object.fromEntries(names.map((name, i) => [name, buffers[i]!])) as Record<
    keyof typeof floats,
    GPUBuffer
  >
  const resource = (name: SamplingBinding): GPUBufferBinding => {
    if (name === 'modelInput') return { buffer: program.inputBuffer(options.modelInput) }
    if (name === 'modelOutput') return program.outputBinding(output)
    return { buffer: owned[name] }
  }
  const command = (dispatch: SamplingDispatch, pipeline: GPUComputePipeline): Command => ({
    pipeline,
    bindGroup: device.gpu.createBindGroup({
      label: dispatch.label,
      layout: device.layout(dispatch.wgsl),
      entries: dispatch.bindings.map((name, binding) => ({ binding, resource: resource(name) })),
    }),
    workgroups: dispatch.workgroups,
  })
  // What the host sees of a step, once it is over: the latents, and whether all was finite.
  const depth = depths[device.description.kind]
  const ends: GPUBuffer[] = []
  const release = () => {
    for (const buffer of [...buffers, ...ends]) device.free(buffer)
  }
  const operand = operandOf(output, 'arena')
  const dispatches = [
    modelInputDispatch(operandOf(input, 'state'), shape, capabilities),
    ...(rescaled ? [guidanceRescaleDispatch(operand, shape, capabilities)] : []),
    samplerRowDispatch(operand, { shape, slots: slots.length, branches, rescaled }, capabilities),
  ]
  let pipelines: readonly GPUComputePipeline[]
  try {
    const wanted = Array.from({ length: depth }, (_, i) => ({ label: `sampling end ${i}`, bytes: endBytes(shape) }))
    ends.push(...(await device.allocate('the latents', usage.end, wanted)))
    pipelines = await Promise.all(dispatches.map(({ wgsl, label }) => device.pipeline(wgsl, label)))
    await model.hold(options.conditions)
  } catch (error) {
    release()
    throw error
  }
  let bound: { readonly version: string; readonly commands: readonly Command[] } | undefined
  const commands = (): readonly [Command, ...Command[]] => {
    const version = program.version
    if (bound?.version !== version)
      bound = { version, commands: dispatches.map((dispatch, i) => command(dispatch, pipelines[i]!)) }
    return bound.commands as readonly [Command, ...Command[]]
  }

  const offsetOf = (slot: string): number => {
    const index = slots.indexOf(slot)
    if (index < 0) throw new RangeError(`no slot ${slot} among ${slots.join(', ')}`)
    return index * stride * 4
  }
  /** All steps are the same commands: the next is encoded while the device computes this one. */
  const encodeStep = (end: GPUBuffer): GPUCommandBuffer => {
    const [before, ...after] = commands()
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    encodeCommands(pass, [before])
    program.encode(pass)
    encodeCommands(pass, after)
    pass.end()
    encoder.copyBufferToBuffer(owned.state, offsetOf('x'), end, 0, elements * 4)
    encoder.copyBufferToBuffer(owned.flags, 0, end, elements * 4, 4)
    return encoder.finish()
  }
  let queued = 0
  let next: { readonly version: string; readonly commands: GPUCommandBuffer } | undefined

  return {
    depth,
    write(slot, values) {
      device.gpu.queue.writeBuffer(owned.state, offsetOf(slot), Float32Array.from(values))
    },
    async step(row, inputs, noise, signal) {
      throwIfAborted(signal)
      device.assertAlive()
      await program.prepare()
      const { queue } = device.gpu
      const coefficients = samplerCoefficients(row, slots, { scale: guidanceScale, rescale: guidanceRescale })
      const index = queued++
      const end = ends[index % depth]!
      end.unmap() // of the step that ended here before
      queue.writeBuffer(owned.coefficients, 0, coefficients)
      if (noise) queue.writeBuffer(owned.noise, 0, Float32Array.from(noise))
      model.write(inputs)
      queue.submit([next?.version === program.version ? next.commands : encodeStep(end)])
      const over = end.mapAsync(mapForReading)
      next = { version: program.version, commands: encodeStep(ends[queued % depth]!) }
      await over.catch((error: unknown) => {
        device.assertAlive()
        throw error
      })
      const memory = end.getMappedRange()
      return {
        finite: new Uint32Array(memory, elements * 4, 1)[0] === 0,
        latents() {
          if (queued > index + depth) throw tooLate(index, queued)
          return new Float32Array(memory, 0, elements).slice()
        },
      }
    },
    dispose: release,
  }
}

function tooLate(index: number, queued: number): PhospheneError {
  return new PhospheneError({
    code: 'options/invalid',
    message: `the latents of step ${index + 1} are asked for after step ${queued} was queued`,
    fix: 'Ask for latents before the listener of their step returns.',
  })
}

function operandOf(placement: Placement, space: Operand['space']): Operand {
  const { value, storage, stride4, offset4 } = placement
  return { slot: 0, shape: value.shape, storage, ...rowLayout(value.shape), stride4, offset4, space }
}

function named(placements: ReadonlyMap<string, Placement>, name: string, model: WebGpuSession): Placement {
  const placement = placements.get(name)
  if (placement) return placement
  throw new PhospheneError({
    code: 'internal',
    message: `${model.graph.name} has no tensor ${name}; it has ${[...placements.keys()].join(', ')}`,
    fix: 'Report this with the model that you loaded.',
  })
}
