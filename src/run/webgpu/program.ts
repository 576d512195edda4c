// A plan made concrete: buffers, pipelines and bind groups, created once, encoded any number of times.
import type { Device } from '../../device/device.ts'
import type { Location, Placement, Plan, PlannedDispatch } from '../../plan/plan.ts'

const usage = { storage: 0x80 | 0x08 | 0x04, staging: 0x01 | 0x08 } // STORAGE|COPY_DST|COPY_SRC, MAP_READ|COPY_DST

/** One dispatch, ready to encode. */
export interface Command {
  readonly pipeline: GPUComputePipeline
  readonly bindGroup: GPUBindGroup
  readonly workgroups: readonly [number, number, number]
}

export class Program {
  readonly device: Device
  readonly plan: Plan
  private readonly weights: readonly GPUBuffer[]
  private readonly pages: readonly GPUBuffer[]
  private readonly inputBuffers: ReadonlyMap<string, GPUBuffer>
  readonly commands: readonly Command[]

  private constructor(
    device: Device,
    plan: Plan,
    weights: readonly GPUBuffer[],
    pages: readonly GPUBuffer[],
    inputBuffers: ReadonlyMap<string, GPUBuffer>,
    commands: readonly Command[],
  ) {
    this.device = device
    this.plan = plan
    this.weights = weights
    this.pages = pages
    this.inputBuffers = inputBuffers
    this.commands = commands
  }

  /** Compiles all pipelines in parallel and binds everything. `weights` become the program's own. */
  static async create(
    device: Device,
    plan: Plan,
    weights: readonly GPUBuffer[],
    pipelines: Promise<readonly GPUComputePipeline[]>,
  ): Promise<Program> {
    const made: GPUBuffer[] = []
    try {
      return await device.withinMemory(`the intermediates of ${plan.graph.name}`, async () => {
        const pages: GPUBuffer[] = []
        for (let at = 0; at < plan.arenaBytes; at += plan.pageBytes) {
          const bytes = Math.min(plan.pageBytes, plan.arenaBytes - at)
          pages.push(device.buffer(`${plan.graph.name} arena ${pages.length}`, bytes, usage.storage))
          made.push(pages.at(-1)!)
        }
        const inputs = new Map<string, GPUBuffer>()
        for (const [name, placement] of plan.inputs) {
          inputs.set(name, device.buffer(`${plan.graph.name} ${name}`, placement.bytes, usage.storage))
          made.push(inputs.get(name)!)
        }
        const compiled = await pipelines
        const resource = (location: Location): GPUBufferBinding => {
          switch (location.kind) {
            case 'arena': {
              const page = Math.floor(location.offset / plan.pageBytes)
              return { buffer: pages[page]!, offset: location.offset - page * plan.pageBytes, size: location.bytes }
            }
            case 'weight':
              return { buffer: weights[location.index]! }
            case 'input':
              return { buffer: inputs.get(location.name)! }
          }
        }
        const commands = dispatchesOf(plan).map(
          (dispatch, i): Command => ({
            pipeline: compiled[i]!,
            bindGroup: device.gpu.createBindGroup({
              label: dispatch.label,
              layout: device.layout(dispatch.wgsl),
              entries: dispatch.bindings.map((location, binding) => ({ binding, resource: resource(location) })),
            }),
            workgroups: dispatch.workgroups,
          }),
        )
        return new Program(device, plan, weights, pages, inputs, commands)
      })
    } catch (error) {
      for (const buffer of [...made, ...weights]) device.free(buffer)
      throw error
    }
  }

  /** The pipelines of a plan, in the order of its dispatches. */
  static pipelines(device: Device, plan: Plan): Promise<readonly GPUComputePipeline[]> {
    return Promise.all(dispatchesOf(plan).map((d) => device.pipeline(d.wgsl, d.label)))
  }

  inputBuffer(name: string): GPUBuffer {
    return this.inputBuffers.get(name)!
  }

  /** Buffer and range of an output (or of an input that is one). */
  outputBinding(placement: Placement): GPUBufferBinding & { readonly offset: number; readonly size: number } {
    const { location } = placement
    if (location.kind === 'input') return { buffer: this.inputBuffer(location.name), offset: 0, size: placement.bytes }
    if (location.kind === 'weight') return { buffer: this.weights[location.index]!, offset: 0, size: placement.bytes }
    const page = Math.floor(location.offset / this.plan.pageBytes)
    return { buffer: this.pages[page]!, offset: location.offset - page * this.plan.pageBytes, size: location.bytes }
  }

  encode(pass: GPUComputePassEncoder): void {
    encodeCommands(pass, this.commands)
  }

  dispose(): void {
    for (const buffer of [...this.pages, ...this.weights, ...this.inputBuffers.values()]) this.device.free(buffer)
  }
}

export function encodeCommands(pass: GPUComputePassEncoder, commands: readonly Command[]): void {
  for (const { pipeline, bindGroup, workgroups } of commands) {
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, bindGroup)
    pass.dispatchWorkgroups(...workgroups)
  }
}

function dispatchesOf(plan: Plan): PlannedDispatch[] {
  return plan.steps.flatMap((step) => step.dispatches)
}

/** Bytes of a buffer range, on the host. */
export async function readBuffer(
  device: Device,
  source: { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number },
): Promise<ArrayBuffer> {
  const size = Math.ceil(source.size / 4) * 4
  const staging = device.buffer('readback', size, usage.staging)
  try {
    const encoder = device.gpu.createCommandEncoder()
    encoder.copyBufferToBuffer(source.buffer, source.offset, staging, 0, size)
    device.gpu.queue.submit([encoder.finish()])
    await staging.mapAsync(1)
    const bytes = staging.getMappedRange().slice(0)
    staging.unmap()
    return bytes
  } catch (error) {
    device.assertAlive()
    throw error
  } finally {
    device.free(staging)
  }
}
