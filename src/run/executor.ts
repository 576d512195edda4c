// What every executor offers: load a graph with its weights, run it, and run a sampler's rows beside it.
import type { Graph } from '../graph/graph.ts'
import type { FileDType, StorageDType } from '../tensor/dtype.ts'

/** Where the parameters' bytes come from; a WeightSource fits. */
export interface ParameterSource {
  readonly label: string
  readonly tensors: ReadonlyMap<string, { readonly dtype: FileDType; readonly shape: readonly number[] }>
  read(name: string): Promise<Uint8Array>
  /** The tensor's place in a local file, where it has one: lets an executor map it instead of reading it. */
  locate(name: string): { readonly path: string; readonly offset: number; readonly length: number } | undefined
}

export interface LoadOptions {
  readonly dtype: StorageDType
  readonly signal?: AbortSignal | undefined
  /** Bytes of weights done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
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
  /** Inputs that stay the same for all steps. */
  readonly conditions: Readonly<Record<string, HostTensor>>
}

/** A sampler's state beside the model: latents and history stay on the device from the first step to the last. */
export interface Sampling {
  write(slot: string, values: Float32Array): void
  /** One model call and its row. `inputs`: what changes by step (timestep embedding). `noise`: of the latents' shape. */
  step(
    row: StepRow,
    inputs: Readonly<Record<string, HostTensor>>,
    noise?: Float32Array,
    signal?: AbortSignal,
  ): Promise<void>
  read(slot: string): Promise<Float32Array>
  /** Whether all values of the rows run so far were finite. Waits for them; cheap beside a read. */
  finite(): Promise<boolean>
  dispose(): void
}

export interface Executor {
  readonly name: 'webgpu' | 'onnx' | 'reference'
  /** For people: adapter or library, e.g. `SwiftShader (Vulkan)`. */
  readonly description: string
  load(graph: Graph, parameters: ParameterSource, options: LoadOptions): Promise<Session>
  sampling(model: Session, options: SamplingOptions): Promise<Sampling>
  dispose(): Promise<void>
}
