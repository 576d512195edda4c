// Runs graphs on ONNX Runtime's CPU provider: the engine where there is no GPU, and an independent check of the kernels.
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { PhospheneError } from '../../error.ts'
import type { Graph, Value } from '../../graph/graph.ts'
import { elementCount } from '../../ops/shapes.ts'
import { breathe, throwIfAborted } from '../aborted.ts'
import type { Executor, HostTensor, LoadOptions, ParameterSource, Session } from '../executor.ts'
import { hostSampling } from '../host-sampling.ts'
import { exportSegment, type SegmentModel } from './export.ts'
import { cutGraph } from './segments.ts'
import { placeWeights, weightBytesOf } from './weight-places.ts'

/**
 * A segment's products: a few tenths of a second on two cores. No more than sixteen, whatever the model: each is a session
 * with threads of its own, and they get into each other's way (three instead of one cost a fifth of the starter's step).
 */
const segmentMacs = 12e9
const mostSegments = 16

type OnnxRuntime = typeof import('onnxruntime-node')

interface Loaded extends Omit<SegmentModel, 'bytes'> {
  readonly session: InferenceSession
}

class OnnxSession implements Session {
  readonly graph: Graph
  readonly weightBytes: number
  readonly arenaBytes = 0
  private readonly runtime: OnnxRuntime
  private readonly segments: readonly Loaded[]

  constructor(runtime: OnnxRuntime, graph: Graph, segments: readonly Loaded[], weightBytes: number) {
    this.runtime = runtime
    this.graph = graph
    this.segments = segments
    this.weightBytes = weightBytes
  }

  async run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>> {
    const values = new Map<Value, Tensor>()
    for (const value of this.graph.inputs.values()) values.set(value, this.edgeTensor(value, inputs[value.name]))
    const results: Record<string, Float32Array> = {}
    for (const [i, segment] of this.segments.entries()) {
      await breathe(signal)
      const feeds = Object.fromEntries([...segment.inputs].map(([value, name]) => [name, values.get(value)!]))
      const made = await segment.session.run(feeds)
      for (const [value, name] of segment.carried) values.set(value, made[name]!)
      for (const [output, name] of segment.results) results[output] = made[name]!.data as Float32Array
      for (const value of values.keys())
        if (!this.segments.slice(i + 1).some((later) => later.inputs.has(value))) values.delete(value)
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
    return value.kind === 'int'
      ? new this.runtime.Tensor('int32', Int32Array.from(data), value.shape)
      : new this.runtime.Tensor('float32', Float32Array.from(data), value.shape)
  }
}

async function load(
  runtime: OnnxRuntime,
  graph: Graph,
  source: ParameterSource,
  { dtype, signal, onProgress }: LoadOptions,
): Promise<Session> {
  const macs = graph.nodes.reduce((sum, n) => sum + n.op.cost(n.inputs, n.attrs as never, n.output).macs, 0)
  const segments = cutGraph(graph, Math.max(segmentMacs, macs / mostSegments))
  const total = [...graph.params.values()].reduce((sum, param) => sum + weightBytesOf(param, dtype), 0)
  const loaded: Loaded[] = []
  let done = 0
  try {
    for (const segment of segments) {
      await breathe(signal)
      const places = await placeWeights(segment.params, source, dtype)
      const { bytes, ...names } = exportSegment(graph, segment, dtype, (param) => places.stored.get(param)!)
      const session = await runtime.InferenceSession.create(bytes, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        externalData: [...places.memory],
        ...(places.folder
          ? { extra: { session: { model_external_initializers_file_folder_path: places.folder } } }
          : {}),
      })
      loaded.push({ ...names, session })
      for (const param of segment.params) done += weightBytesOf(param, dtype)
      onProgress?.(done, total)
    }
  } catch (error) {
    for (const { session } of loaded) void session.release()
    throw error
  }
  return new OnnxSession(runtime, graph, loaded, total)
}

/** Runs graphs on this machine's CPU through onnxruntime-node (Node only). */
export async function onnxExecutor(): Promise<Executor> {
  const runtime = await import('onnxruntime-node')
  return {
    name: 'onnx',
    description: `ONNX Runtime ${runtime.env.versions.node ?? ''} (CPU)`.replace('  ', ' '),
    load: (graph, source, options) => load(runtime, graph, source, options),
    sampling: async (model, options) => hostSampling(model, options),
    async dispose() {},
  }
}
