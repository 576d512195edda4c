// A graph loaded into ONNX Runtime: its segments one after the other, values handed on as they are.
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { PhospheneError } from '../../error.ts'
import type { Graph, Value } from '../../graph/graph.ts'
import { elementCount } from '../../ops/shapes.ts'
import { breathe, throwIfAborted } from '../aborted.ts'
import type { HostTensor } from '../executor.ts'
import type { PlainSession } from '../held-session.ts'
import type { SegmentModel } from './export.ts'

export type OnnxRuntime = typeof import('onnxruntime-node')

export interface LoadedSegment extends Omit<SegmentModel, 'bytes'> {
  readonly session: InferenceSession
}

export class OnnxSession implements PlainSession {
  readonly graph: Graph
  readonly weightBytes: number
  readonly arenaBytes = 0
  private readonly runtime: OnnxRuntime
  private readonly segments: readonly LoadedSegment[]
  /** By segment: the values that no later one takes. */
  private readonly lastUsed: readonly (readonly Value[])[]

  constructor(runtime: OnnxRuntime, graph: Graph, segments: readonly LoadedSegment[], weightBytes: number) {
    this.runtime = runtime
    this.graph = graph
    this.segments = segments
    this.weightBytes = weightBytes
    this.lastUsed = segments.map(({ inputs }, i) =>
      [...inputs.keys()].filter((value) => !segments.slice(i + 1).some((later) => later.inputs.has(value))),
    )
  }

  async run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const values = new Map<Value, Tensor>()
    for (const value of this.graph.inputs.values()) values.set(value, this.edgeTensor(value, inputs[value.name]))
    const results: Record<string, Float32Array> = {}
    for (const [i, segment] of this.segments.entries()) {
      await breathe(signal)
      const feeds = Object.fromEntries([...segment.inputs].map(([value, name]) => [name, values.get(value)!]))
      const made = await segment.session.run(feeds).catch((error) => failed(this.graph, 'run', error))
      for (const [value, name] of segment.carried) values.set(value, made[name]!)
      for (const [output, name] of segment.results) results[output] = made[name]!.data as Float32Array
      for (const value of this.lastUsed[i]!) values.delete(value)
    }
    throwIfAborted(signal)
    return results
  }

  dispose(): void {
    for (const { session } of this.segments) void session.release()
  }

  private edgeTensor(value: Value, data: HostTensor | undefined): Tensor {
    if (data?.length !== elementCount(value.shape))
      throw new PhospheneError({
        code: 'internal',
        message: `${this.graph.name}: ${value.name} has ${data?.length} elements where [${value.shape}] was expected`,
        fix: `The inputs are ${[...this.graph.inputs.keys()].join(', ')}.`,
      })
    const { Tensor } = this.runtime
    if (value.kind === 'int')
      return new Tensor('int32', data instanceof Int32Array ? data : Int32Array.from(data), value.shape)
    return new Tensor('float32', data instanceof Float32Array ? data : Float32Array.from(data), value.shape)
  }
}

/** Raises 'run/failed' with ONNX Runtime's own words. */
export function failed(graph: Graph, what: 'load' | 'run', error: unknown): never {
  throw new PhospheneError(
    {
      code: 'run/failed',
      message: `${graph.name}: ONNX Runtime could not ${what} it: ${error instanceof Error ? error.message : error}`,
      fix: 'If memory ran out, draw a smaller picture; otherwise report this with the model that you loaded.',
    },
    { cause: error },
  )
}
