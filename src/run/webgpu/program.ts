// A plan made concrete: weights and pipelines, which stay; inputs, constants and room to compute in, which are made when a run is
// prepared; and what binds them, encoded any number of times.
import type { Device } from '../../device/device.ts'
import type { Location, Placement, Plan, PlannedDispatch } from '../../plan/plan.ts'
import { Arena } from './arena.ts'

const usage = { storage: 0x80 | 0x08 | 0x04, staging: 0x01 | 0x08, uniform: 0x40 | 0x08 } // STORAGE|COPY_DST|COPY_SRC, MAP_READ|COPY_DST, UNIFORM|COPY_DST

/** One dispatch, ready to encode. */
export interface Command {
  readonly pipeline: GPUComputePipeline
  readonly bindGroup: GPUBindGroup
  readonly workgroups: readonly [number, number, number]
}

/** What a program keeps from run to run beside weights. */
interface State {
  readonly inputs: ReadonlyMap<string, GPUBuffer>
  readonly constants: GPUBuffer | undefined
}

export class Program {
  readonly device: Device
  readonly plan: Plan
  private readonly arena: Arena
  private readonly weights: readonly GPUBuffer[]
  private readonly pipelines: readonly GPUComputePipeline[]
  private readonly after: Program | undefined
  private state: State | undefined
  private stateVersion = 0
  private bound: { readonly version: string; readonly commands: readonly Command[] } | undefined

  private constructor(parts: {
    readonly device: Device
    readonly plan: Plan
    readonly arena: Arena
    readonly weights: readonly GPUBuffer[]
    readonly pipelines: readonly GPUComputePipeline[]
    readonly after: Program | undefined
  }) {
    this.device = parts.device
    this.plan = parts.plan
    this.arena = parts.arena
    this.weights = parts.weights
    this.pipelines = parts.pipelines
    this.after = parts.after
    this.arena.join(this.plan)
  }

  /**
   * `weights` become the program's own, also when this fails.
   * @param after the program whose inputs a plan's kept outputs are
   */
  static async create(
    device: Device,
    plan: Plan,
    weights: readonly GPUBuffer[],
    pipelines: Promise<readonly GPUComputePipeline[]>,
    { after, arena = new Arena(device) }: { readonly after?: Program | undefined; readonly arena?: Arena } = {},
  ): Promise<Program> {
    try {
      return new Program({ device, plan, arena, weights, pipelines: await pipelines, after })
    } catch (error) {
      for (const buffer of weights) device.free(buffer)
      throw error
    }
  }

  /** The pipelines of a plan, in the order of its dispatches. */
  static pipelines(device: Device, plan: Plan): Promise<readonly GPUComputePipeline[]> {
    return Promise.all(dispatchesOf(plan).map((d) => device.pipeline(d.wgsl, d.label)))
  }

  /** Makes room for a run: to be awaited before `commands`, `encode` and `outputBinding`. Raises 'device/out-of-memory'. */
  async prepare(): Promise<void> {
    await this.prepareState()
    await this.arena.prepare(this.plan)
  }

  /** Makes the buffers of inputs, unless they are there: to be awaited before `inputBuffer`. */
  async prepareState(): Promise<void> {
    if (this.state) return
    const { device, plan } = this
    const names = [...plan.inputs.keys()]
    const sizes = names.map((name) => ({ label: `${plan.graph.name} ${name}`, bytes: plan.inputs.get(name)!.bytes }))
    const buffers = await device.allocate(`the inputs of ${plan.graph.name}`, usage.storage, sizes)
    if (this.state) {
      for (const buffer of buffers) device.free(buffer) // two runs at once
      return
    }
    let constants: GPUBuffer | undefined
    if (plan.constants.length > 0) {
      constants = device.buffer(`${plan.graph.name} constants`, plan.constants.byteLength, usage.uniform)
      device.gpu.queue.writeBuffer(constants, 0, plan.constants)
    }
    this.state = { inputs: new Map(names.map((name, i) => [name, buffers[i]!])), constants }
    this.stateVersion++
  }

  /** Gives back inputs and constants until the next run is prepared. */
  release(): void {
    const { device, state } = this
    if (!state) return
    for (const buffer of state.inputs.values()) device.free(buffer)
    if (state.constants) device.free(state.constants)
    this.state = undefined
  }

  /** Changes when buffers are replaced: what `inputBuffer` and `outputBinding` told does not hold any more. */
  get version(): string {
    return `${this.arena.version} ${this.stateVersion} ${this.after?.stateVersion}`
  }

  get commands(): readonly Command[] {
    const { version } = this
    if (this.bound?.version !== version) this.bound = { version, commands: this.bind() }
    return this.bound.commands
  }

  private bind(): Command[] {
    const { device, plan } = this
    const resource = (location: Location): GPUBufferBinding => {
      switch (location.kind) {
        case 'arena':
          return this.arenaBinding(location)
        case 'weight':
          return { buffer: this.weights[location.index]! }
        case 'constant':
          return { buffer: this.state!.constants!, offset: location.offset, size: location.bytes }
        case 'input':
          return { buffer: this.state!.inputs.get(location.name) ?? this.after!.inputBuffer(location.name) }
      }
    }
    return dispatchesOf(plan).map(
      (dispatch, i): Command => ({
        pipeline: this.pipelines[i]!,
        bindGroup: device.gpu.createBindGroup({
          label: dispatch.label,
          layout: device.layout(dispatch.wgsl),
          entries: dispatch.bindings.map((location, binding) => ({ binding, resource: resource(location) })),
        }),
        workgroups: dispatch.workgroups,
      }),
    )
  }

  private arenaBinding({ offset, bytes }: { readonly offset: number; readonly bytes: number }) {
    const page = Math.floor(offset / this.plan.pageBytes)
    return { buffer: this.arena.page(this.plan, page), offset: offset - page * this.plan.pageBytes, size: bytes }
  }

  /** Bytes of inputs and constants, if they are there. */
  get stateBytes(): number {
    return this.state ? this.plan.inputBytes + this.plan.constants.byteLength : 0
  }

  inputBuffer(name: string): GPUBuffer {
    return this.state!.inputs.get(name)!
  }

  /** Buffer and range of an output (or of an input that is one). */
  outputBinding(placement: Placement): GPUBufferBinding & { readonly offset: number; readonly size: number } {
    const { location } = placement
    if (location.kind === 'input') return { buffer: this.inputBuffer(location.name), offset: 0, size: placement.bytes }
    if (location.kind === 'weight') return { buffer: this.weights[location.index]!, offset: 0, size: placement.bytes }
    return this.arenaBinding(location)
  }

  encode(pass: GPUComputePassEncoder): void {
    encodeCommands(pass, this.commands)
  }

  dispose(): void {
    this.release()
    for (const buffer of this.weights) this.device.free(buffer)
    this.arena.leave(this.plan)
  }
}

export function encodeCommands(pass: GPUComputePassEncoder, commands: readonly Command[]): void {
  let current: GPUComputePipeline | undefined
  for (const { pipeline, bindGroup, workgroups } of commands) {
    if (pipeline !== current) pass.setPipeline(pipeline)
    current = pipeline
    pass.setBindGroup(0, bindGroup)
    pass.dispatchWorkgroups(...workgroups)
  }
}

function dispatchesOf(plan: Plan): PlannedDispatch[] {
  return plan.steps.flatMap((step) => step.dispatches)
}

type BufferRange = { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number }

/** A copy of a buffer range on its way to the host. */
export interface BufferCopy {
  /** Waits for the submission that the copy is part of. */
  read(): Promise<ArrayBuffer>
  dispose(): void
}

/** Encodes the copy of a buffer range to where the host can read it. */
export function copyBuffer(device: Device, encoder: GPUCommandEncoder, source: BufferRange): BufferCopy {
  const size = Math.ceil(source.size / 4) * 4
  const staging = device.buffer('readback', size, usage.staging)
  encoder.copyBufferToBuffer(source.buffer, source.offset, staging, 0, size)
  return {
    async read() {
      try {
        await staging.mapAsync(1)
        return staging.getMappedRange().slice(0)
      } catch (error) {
        device.assertAlive()
        throw error
      }
    },
    dispose: () => device.free(staging),
  }
}

/** Bytes of a buffer range, on the host. */
export async function readBuffer(device: Device, source: BufferRange): Promise<ArrayBuffer> {
  const encoder = device.gpu.createCommandEncoder()
  const copy = copyBuffer(device, encoder, source)
  try {
    device.gpu.queue.submit([encoder.finish()])
    return await copy.read()
  } finally {
    copy.dispose()
  }
}
