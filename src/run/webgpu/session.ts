// A graph loaded onto a device: inputs written, one submission, outputs read.
import { PhospheneError } from '../../error.ts'
import type { Graph } from '../../graph/graph.ts'
import { packTensor, unpackTensor } from '../../plan/layout.ts'
import type { Plan } from '../../plan/plan.ts'
import { throwIfAborted } from '../aborted.ts'
import type { HostTensor, Session } from '../executor.ts'
import { type Program, readBuffer } from './program.ts'

export class WebGpuSession implements Session {
  readonly graph: Graph
  readonly plan: Plan
  readonly program: Program

  constructor(plan: Plan, program: Program) {
    this.graph = plan.graph
    this.plan = plan
    this.program = program
  }

  get weightBytes(): number {
    return this.plan.weightBytes
  }

  get arenaBytes(): number {
    return this.plan.arenaBytes
  }

  /** Writes graph inputs; the device sees them with the next submission. */
  write(inputs: Readonly<Record<string, HostTensor>>): void {
    for (const [name, values] of Object.entries(inputs)) {
      const placement = this.plan.inputs.get(name)
      if (!placement) throw inputError(this.graph, name, 'is no input of this graph')
      const elements = placement.value.shape.reduce((a, b) => a * b, 1)
      if (values.length !== elements)
        throw inputError(
          this.graph,
          name,
          `has ${values.length} elements where [${placement.value.shape}] was expected`,
        )
      const packed = packTensor(values, placement.value.shape, placement.storage)
      this.program.device.gpu.queue.writeBuffer(this.program.inputBuffer(name), 0, packed)
    }
  }

  async run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const { device } = this.program
    throwIfAborted(signal)
    device.assertAlive()
    this.write(inputs)
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    this.program.encode(pass)
    pass.end()
    device.gpu.queue.submit([encoder.finish()])
    const results: Record<string, Float32Array> = {}
    for (const [name, placement] of this.plan.outputs) {
      const bytes = await readBuffer(device, this.program.outputBinding(placement))
      const { value, storage, stride4, offset4 } = placement
      results[name] = unpackTensor(bytes, value.shape, storage, stride4, offset4)
    }
    throwIfAborted(signal)
    return results
  }

  dispose(): void {
    this.program.dispose()
  }
}

function inputError(graph: Graph, name: string, what: string): PhospheneError {
  return new PhospheneError({
    code: 'internal',
    message: `${graph.name}: ${name} ${what}`,
    fix: `The inputs are ${[...graph.inputs.keys()].join(', ')}.`,
  })
}
