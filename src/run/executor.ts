// What every executor offers: load a graph with its weights, run it, and run a sampler's rows beside it.
import type { Graph } from '../graph/graph.ts'
import type { FrugalGraphs, MemoryLimit } from '../plan/within.ts'
import type { FileDType, StorageDType } from '../tensor/dtype.ts'
import type { QuantisedTensors, WeightFormat } from '../tensor/quantise.ts'
import type { Profiler } from './profiler.ts'

/** Where the parameters' bytes come from; a WeightSource fits. */
export interface ParameterSource {
  readonly label: string
  readonly tensors: ReadonlyMap<string, { readonly dtype: FileDType; readonly shape: readonly number[] }>
  read(name: string): Promise<Uint8Array>
  /** Fills `target` with the tensor's bytes from `offset` on; where a source has none, `read` serves. */
  readInto?(name: string, offset: number, target: Uint8Array): Promise<void>
  /** The tensor's place in a local file, where it has one: lets an executor map it instead of reading it. */
  locate(name: string): { readonly path: string; readonly offset: number; readonly length: number } | undefined
  readonly quantised?: QuantisedTensors | undefined
}

export interface LoadOptions {
  readonly dtype: StorageDType
  /** How weights of products, convolutions and token tables are stored: as the file has them unless said. */
  readonly weights?: WeightFormat | undefined
  readonly signal?: AbortSignal | undefined
  /** Bytes of weights done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  /** Requests whose kernels have been measured and in all, for executors that measure theirs. */
  readonly onTuning?: ((done: number, total: number) => void) | undefined
  /** What deserves to be said but stops nothing. */
  readonly onWarning?: ((message: string) => void) | undefined
  /** What of the model depends on held inputs alone: `hold` runs it, and its outputs are inputs of the graph by name. */
  readonly prelude?: Graph | undefined
  /** Graphs that compute the same in less memory, for executors that plan theirs. */
  readonly frugal?: FrugalGraphs | undefined
  /** Raises 'plan/memory' where even the most frugal does not fit. Executors that plan no memory pass it over. */
  readonly memory?: MemoryLimit | undefined
}

/** Tensors at the edge: row-major in the graph's logical shape (images [n, h, w, c]). */
export type HostTensor = Float32Array | Int32Array

/** A graph, ready to run any number of times. */
export interface Session {
  readonly graph: Graph
  /** Bytes of weights that this session holds. */
  readonly weightBytes: number
  /** Bytes planned for intermediates; 0 where the executor plans none (ONNX Runtime, reference). */
  readonly arenaBytes: number
  /** Bytes that it keeps from run to run beside weights: inputs, what was made of held ones; 0 where they pass through the host. */
  readonly stateBytes: number
  /** Frees that; what was held has to be held again. */
  release(): void
  /** Sets inputs of the graph and its prelude for all runs to come, which then take the others; what was held before stays. */
  hold(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<void>
  /** Raises 'aborted' when the signal fires: between segments at the latest. */
  run(inputs: Readonly<Record<string, HostTensor>>, signal?: AbortSignal): Promise<Record<string, Float32Array>>
  dispose(): void
}

/** What follows one call of the model; a sampling Stage fits (coefficients in f64, see sampling/stage.ts). */
export interface StepRow {
  readonly inputScale: number
  readonly denoised: { readonly x: number; readonly model: number; readonly clip?: number }
  readonly updates: readonly { readonly slot: string; readonly terms: Readonly<Record<string, number>> }[]
}

export interface SamplingOptions {
  /** Latents [n, h, w, c] of all pictures, without guidance branches. */
  readonly shape: readonly number[]
  /** 'x' first, then the sampler's history. */
  readonly slots: readonly string[]
  /** 2: the model's batch is [negative, positive]; 1: no guidance. */
  readonly branches: 1 | 2
  readonly guidanceScale: number
  readonly guidanceRescale: number
  /** Name of the graph's input for the latents and of its output. */
  readonly modelInput: string
  readonly modelOutput: string
  /** Inputs that stay the same for all steps: held by the session. */
  readonly conditions: Readonly<Record<string, HostTensor>>
}

/** A step that is over. */
export interface StepEnd {
  /** Whether all values of its row, and of those before it, were finite. */
  readonly finite: boolean
  /** The latents after it. To be called before another `depth` steps are queued. */
  latents(): Float32Array
}

/** A sampler's state beside the model: latents and history stay on the device from the first step to the last. */
export interface Sampling {
  /** Steps to keep queued: a device that works by itself is never to wait for the host between two of them. */
  readonly depth: number
  write(slot: string, values: Float32Array): void
  /**
   * Queues one model call and its row, and waits for its end. Steps run in the order of the calls, which need not wait for each
   * other. `inputs`: what changes by step (timestep embedding). `noise`: of the latents' shape.
   */
  step(
    row: StepRow,
    inputs: Readonly<Record<string, HostTensor>>,
    noise?: Float32Array,
    signal?: AbortSignal,
  ): Promise<StepEnd>
  dispose(): void
}

export interface Executor {
  readonly name: 'webgpu' | 'onnx' | 'reference'
  /** For people: adapter or library, e.g. `SwiftShader (Vulkan)`. */
  readonly description: string
  /** Undefined where kernels cannot be timed one by one. */
  readonly profiler?: Profiler | undefined
  /** Whether loading goes on beside runs and other loads without holding them up: worth beginning before it is needed. */
  readonly loadsBeside: boolean
  load(graph: Graph, parameters: ParameterSource, options: LoadOptions): Promise<Session>
  sampling(model: Session, options: SamplingOptions): Promise<Sampling>
  /** Bytes that sampling takes on the device beside its model, for latents of this shape and so many slots. */
  samplingBytes(shape: readonly number[], slots: number): number
  dispose(): Promise<void>
}
