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
import { type Command, encodeCommands, readBuffer } from './program.ts'
import type { WebGpuSession } from './session.ts'

const storageUsage = 0x80 | 0x08 | 0x04 // STORAGE | COPY_DST | COPY_SRC

/** Prepares the sampler's buffers and kernels around a loaded model. */
export async function createSampling(model: WebGpuSession, options: SamplingOptions): Promise<Sampling> {
  const { program, plan } = model
  const { device } = program
  const { shape, slots, branches, guidanceScale, guidanceRescale } = options
  const elements = shape.reduce((a, b) => a * b, 1)
  const stride = slotStride(elements)
  const input = named(plan.inputs, options.modelInput, model)
  const output = named(plan.outputs, options.modelOutput, model)
  const rescaled = branches === 2 && guidanceRescale > 0
  const capabilities = capabilitiesOf(device)

  const owned = await device.withinMemory('the latents', () => {
    const make = (label: string, floats: number) => device.buffer(`sampling ${label}`, floats * 4, storageUsage)
    return {
      state: make('state', slots.length * stride),
      noise: make('noise', stride),
      coefficients: make('coefficients', coefficientCount(slots.length)),
      factors: make('factors', shape[0]!),
      flags: make('flags', 1),
    }
  })
  const resource = (name: SamplingBinding): GPUBufferBinding => {
    if (name === 'modelInput') return { buffer: program.inputBuffer(options.modelInput) }
    if (name === 'modelOutput') return program.outputBinding(output)
    return { buffer: owned[name] }
  }
  const command = async (dispatch: SamplingDispatch): Promise<Command> => ({
    pipeline: await device.pipeline(dispatch.wgsl, dispatch.label),
    bindGroup: device.gpu.createBindGroup({
      label: dispatch.label,
      layout: device.layout(dispatch.wgsl),
      entries: dispatch.bindings.map((name, binding) => ({ binding, resource: resource(name) })),
    }),
    workgroups: dispatch.workgroups,
  })
  const release = () => {
    for (const buffer of Object.values(owned)) device.free(buffer)
  }
  const operand = operandOf(output, 'arena')
  const dispatches = [
    modelInputDispatch(operandOf(input, 'state'), shape, capabilities),
    ...(rescaled ? [guidanceRescaleDispatch(operand, shape, capabilities)] : []),
    samplerRowDispatch(operand, { shape, slots: slots.length, branches, rescaled }, capabilities),
  ]
  const [before, ...after] = (await Promise.all(dispatches.map(command)).catch((error) => {
    release()
    throw error
  })) as [Command, ...Command[]]
  model.write(options.conditions)

  const offsetOf = (slot: string): number => {
    const index = slots.indexOf(slot)
    if (index < 0) throw new RangeError(`no slot ${slot} among ${slots.join(', ')}`)
    return index * stride * 4
  }
  /** At most two steps are queued: the device never waits for the host, and Ctrl-C not long for the device. */
  const inFlight: Promise<unknown>[] = []
  /** All steps are the same commands: the next is encoded while the device computes this one. */
  const encodeStep = (): GPUCommandBuffer => {
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    encodeCommands(pass, [before])
    program.encode(pass)
    encodeCommands(pass, after)
    pass.end()
    return encoder.finish()
  }
  let next: GPUCommandBuffer | undefined

  return {
    write(slot, values) {
      device.gpu.queue.writeBuffer(owned.state, offsetOf(slot), Float32Array.from(values))
    },
    async step(row, inputs, noise, signal) {
      if (inFlight.length >= 2) await inFlight.shift()
      throwIfAborted(signal)
      device.assertAlive()
      const { queue } = device.gpu
      const guidance = { scale: guidanceScale, rescale: guidanceRescale }
      queue.writeBuffer(owned.coefficients, 0, samplerCoefficients(row, slots, guidance))
      if (noise) queue.writeBuffer(owned.noise, 0, Float32Array.from(noise))
      model.write(inputs)
      queue.submit([next ?? encodeStep()])
      inFlight.push(queue.onSubmittedWorkDone())
      next = encodeStep()
    },
    async read(slot) {
      const range = { buffer: owned.state, offset: offsetOf(slot), size: elements * 4 }
      return new Float32Array(await readBuffer(device, range), 0, elements)
    },
    async finite() {
      const flags = await readBuffer(device, { buffer: owned.flags, offset: 0, size: 4 })
      return new Uint32Array(flags)[0] === 0
    },
    dispose: release,
  }
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
