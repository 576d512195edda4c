// A graph loaded onto a device: inputs written, one submission, outputs read.
import { PhospheneError } from '../../error.ts'
import type { Graph } from '../../graph/graph.ts'
import { packTensor, unpackTensor } from '../../plan/layout.ts'
import type { Plan } from '../../plan/plan.ts'
import { throwIfAborted } from '../aborted.ts'
import type { HostTensor, Session } from '../executor.ts'
import { type BufferCopy, copyBuffer, type Program } from './program.ts'

export class WebGpuSession implements Session {
  readonly graph: Graph
  readonly plan: Plan
  readonly program: Program
  private readonly prelude: Program | undefined

  /** @param prelude its kept outputs are inputs of `program` */
  constructor(plan: Plan, program: Program, prelude?: Program) {
    this.graph = plan.graph
    this.plan = plan
    this.program = program
    this.prelude = prelude
  }

  get weightBytes(): number {
    return this.plan.weightBytes + (this.prelude?.plan.weightBytes ?? 0)
  }

  get arenaBytes(): number {
    return Math.max(this.plan.arenaBytes, this.prelude?.plan.arenaBytes ?? 0)
  }

  get stateBytes(): number {
    return this.program.stateBytes + (this.prelude?.stateBytes ?? 0)
  }

  /** Writes graph inputs; the device sees them with the next submission. */
  write(inputs: Readonly<Record<string, HostTensor>>): void {
    for (const [name, values] of Object.entries(inputs)) {
      if (!this.plan.inputs.has(name)) throw inputError(this.graph, name, 'is no input of this graph')
      writeInput(this.program, name, values)
    }
  }

  async hold(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<void> {
    const { device } = this.program
    throwIfAborted(signal)
    device.assertAlive()
    const programs = this.prelude ? [this.program, this.prelude] : [this.program]
    await this.program.prepareState()
    await this.prelude?.prepare()
    for (const [name, values] of Object.entries(inputs)) {
      const takers = programs.filter(({ plan }) => plan.inputs.has(name))
      if (takers.length === 0) throw inputError(this.graph, name, 'is no input of this graph')
      for (const program of takers) writeInput(program, name, values)
    }
    if (this.prelude) submit(this.prelude, () => {})
  }

  async run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const { device } = this.program
    throwIfAborted(signal)
    device.assertAlive()
    await this.program.prepare()
    this.write(inputs)
    // Copied within the submission: afterwards the arena may be another program's.
    const copies = new Map<string, BufferCopy>()
    try {
      submit(this.program, (encoder) => {
        for (const [name, placement] of this.plan.outputs)
          copies.set(name, copyBuffer(device, encoder, this.program.outputBinding(placement)))
      })
      const results: Record<string, Float32Array> = {}
      for (const [name, { value, storage, stride4, offset4 }] of this.plan.outputs)
        results[name] = unpackTensor(await copies.get(name)!.read(), value.shape, storage, stride4, offset4)
      throwIfAborted(signal)
      return results
    } finally {
      for (const copy of copies.values()) copy.dispose()
    }
  }

  release(): void {
    this.prelude?.release()
    this.program.release()
  }

  dispose(): void {
    this.prelude?.dispose()
    this.program.dispose()
  }
}

function submit(program: Program, andThen: (encoder: GPUCommandEncoder) => void): void {
  const { gpu } = program.device
  const encoder = gpu.createCommandEncoder()
  const pass = encoder.beginComputePass()
  program.encode(pass)
  pass.end()
  andThen(encoder)
  gpu.queue.submit([encoder.finish()])
}

function writeInput(program: Program, name: string, values: HostTensor): void {
  const { value, storage } = program.plan.inputs.get(name)!
  const elements = value.shape.reduce((a, b) => a * b, 1)
  if (values.length !== elements)
    throw inputError(program.plan.graph, name, `has ${values.length} elements where [${value.shape}] was expected`)
  program.device.gpu.queue.writeBuffer(program.inputBuffer(name), 0, packTensor(values, value.shape, storage))
}

function inputError(graph: Graph, name: string, what: string): PhospheneError {
  return new PhospheneError({
    code: 'internal',
    message: `${graph.name}: ${name} ${what}`,
    fix: `The inputs are ${[...graph.inputs.keys()].join(', ')}.`,
  })
}
