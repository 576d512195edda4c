// An executor with what the pipeline must know about it: the precision that suits it, and what does not fit.
// No WebGPU types here: these declarations are the public ones.
import type { Executor, Session } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'

/** A graph, as models make it and executors take it. */
export type Graph = Session['graph']

/** How a graph is run. */
export interface GraphUse {
  /** Inputs that stay from run to run. */
  readonly held?: readonly string[]
  /** What lives on the device beside it meanwhile, in bytes. */
  readonly besideBytes?: number
}

/** Why a graph does not fit, or undefined where it does. Raises 'plan/memory' where it does not fit into the memory allowed. */
export type Obstacle = (graph: Graph, use: GraphUse) => string | undefined

/** What a pipeline runs on, for people. */
export interface DeviceSummary {
  readonly kind: 'gpu' | 'software' | 'cpu'
  readonly name: string
}

export interface Backend {
  readonly device: DeviceSummary
  readonly executor: Executor
  /** What `auto` means here. */
  readonly dtype: StorageDType
  /** @param memoryBytes allowed for everything but weights */
  obstacle(dtype: StorageDType, memoryBytes: number | undefined): Obstacle
}
