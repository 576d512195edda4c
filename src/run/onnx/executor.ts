// Runs graphs on ONNX Runtime's CPU provider: the engine where there is no GPU, and an independent check of the kernels.
import { PhospheneError } from '../../error.ts'
import type { Graph } from '../../graph/graph.ts'
import { floatStorage } from '../../plan/layout.ts'
import { graphWithin } from '../../plan/within.ts'
import { breathe } from '../aborted.ts'
import type { Executor, LoadOptions, ParameterSource } from '../executor.ts'
import { loadWithPrelude, type PlainSession } from '../held-session.ts'
import { hostSampling } from '../host-sampling.ts'
import { withQuantised } from '../quantised-parameters.ts'
import { withStacked } from '../stacked-parameters.ts'
import { exportSegment } from './export.ts'
import { cutGraph } from './segments.ts'
import { failed, type LoadedSegment, type OnnxRuntime, OnnxSession } from './session.ts'
import { placeWeights, weightBytesOf } from './weight-places.ts'

export interface OnnxOptions {
  /** Multiply-adds of a segment, roughly: for how long the event loop is blocked. */
  readonly segmentMacs?: number
  /** ONNX Runtime's execution provider: its CPU kernels, or its WebGPU ones, which serve as the peer in benchmarks. */
  readonly provider?: 'cpu' | 'webgpu'
  /** Loading fails where the provider has no kernel for a node, instead of leaving the node to the CPU. */
  readonly providerAlone?: boolean
}

/** Runs graphs on this machine's CPU through onnxruntime-node (Node only). Raises 'device/none' where it is missing. */
export async function onnxExecutor(options: OnnxOptions = {}): Promise<Executor> {
  const runtime = await openRuntime()
  const loadPart = (graph: Graph, source: ParameterSource, load: LoadOptions) =>
    loadGraph(runtime, graph, withQuantised(graph, withStacked(graph, source), load.weights), load, {
      segmentMacs: options.segmentMacs ?? defaultSegmentMacs(graph),
      provider: options.provider ?? 'cpu',
      providerAlone: options.providerAlone ?? false,
    })
  return {
    name: 'onnx',
    description: `ONNX Runtime ${runtime.env.versions.node ?? ''} (${options.provider === 'webgpu' ? 'WebGPU' : 'CPU'})`,
    loadsBeside: false,
    load: (graph, source, load) => loadWithPrelude(loadPart, thatFits(graph, load), source, load),
    sampling: hostSampling,
    samplingBytes: () => 0, // latents stay on the host
    async dispose() {},
  }
}

/**
 * A few tenths of a second on two cores. No more than sixteen segments, whatever the model: each is a session with
 * threads of its own, and they get into each other's way (three instead of one cost the starter's step a fifth).
 */
function defaultSegmentMacs(graph: Graph): number {
  const macs = graph.nodes.reduce((sum, n) => sum + n.op.cost(n.inputs, n.attrs as never, n.output).macs, 0)
  return Math.max(12e9, macs / 16)
}

/** ONNX Runtime plans its own memory: a limit can only choose the graph, whose tensors it has to hold. */
function thatFits(graph: Graph, { dtype, frugal, memory }: LoadOptions): Graph {
  return memory ? graphWithin(graph, frugal ?? (() => []), floatStorage(dtype, true), memory) : graph
}

async function loadGraph(
  runtime: OnnxRuntime,
  graph: Graph,
  source: ParameterSource,
  { dtype, signal, onProgress }: LoadOptions,
  { segmentMacs, provider, providerAlone }: Required<OnnxOptions>,
): Promise<PlainSession> {
  const total = [...graph.params.values()].reduce((sum, param) => sum + weightBytesOf(param, dtype), 0)
  const loaded: LoadedSegment[] = []
  const counted = new Set<string>()
  let done = 0
  try {
    for (const segment of cutGraph(graph, segmentMacs)) {
      await breathe(signal)
      const { stored, folder, memory } = await placeWeights(segment.params, source, dtype)
      const { bytes, ...names } = exportSegment(graph, segment, dtype, (param) => stored.get(param)!)
      const session = await runtime.InferenceSession.create(bytes, {
        executionProviders: [provider],
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3, // errors are raised; its warnings are about its own rewritings
        ...(memory.length > 0 ? { externalData: [...memory] } : {}),
        extra: {
          session: {
            // Idle threads of one session would spin on the cores that the next one needs.
            'session.force_spinning_stop': '1',
            ...(providerAlone ? { 'session.disable_cpu_ep_fallback': '1' } : {}),
            ...(folder === undefined ? {} : { model_external_initializers_file_folder_path: folder }),
          },
        },
      }).catch((error) => failed(graph, 'load', error))
      loaded.push({ ...names, session })
      for (const param of segment.params) {
        if (!counted.has(param.name)) done += weightBytesOf(param, dtype)
        counted.add(param.name)
      }
      onProgress?.(done, total)
    }
  } catch (error) {
    for (const { session } of loaded) void session.release()
    throw error
  }
  return new OnnxSession(runtime, graph, loaded, total)
}

async function openRuntime(): Promise<OnnxRuntime> {
  try {
    return await import('onnxruntime-node')
  } catch (error) {
    throw new PhospheneError(
      {
        code: 'device/none',
        message: `onnxruntime-node could not be loaded: ${error instanceof Error ? error.message : error}`,
        fix: 'Install it again with `npm install onnxruntime-node`, or run on a GPU.',
      },
      { cause: error },
    )
  }
}
