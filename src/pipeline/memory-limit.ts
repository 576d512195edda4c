// What a component may need of a limited memory: asked before anything is loaded, and handed to the executor when it loads.
import type { LatentDiffusion } from '../models/model-kind.ts'
import { frugalGraphs } from '../passes/frugal-graphs.ts'
import { type OptimiseOptions, optimiseInParts } from '../passes/passes.ts'
import { floatStorage, storageBytes } from '../plan/layout.ts'
import { type FrugalGraphs, graphWithin } from '../plan/within.ts'
import type { Executor } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { Graph, GraphUse } from './backend-contract.ts'
import type { Model } from './model.ts'
import type { Job } from './options.ts'

/** A graph as executors take it: in its two parts, and in forms that need less memory. */
export interface OptimisedGraph {
  readonly graph: Graph
  readonly prelude: Graph | undefined
  readonly frugal: FrugalGraphs
}

export function optimised(graph: Graph, held: readonly string[] = [], options: OptimiseOptions = {}): OptimisedGraph {
  const { graph: rest, prelude, unfused } = optimiseInParts(graph, held, options)
  return { graph: rest, prelude, frugal: (elements) => frugalGraphs(unfused, elements, options) }
}

/** Raises 'plan/memory' where no form of the graph fits into `bytes`, going by its tensors alone. */
export function checkMemory(
  whole: Graph,
  use: GraphUse,
  dtype: StorageDType,
  bytes: number,
  options: OptimiseOptions = {},
): void {
  const { graph, prelude, frugal } = optimised(whole, use.held, options)
  const storage = floatStorage(dtype, false)
  const size = ({ shape, kind }: Graph['nodes'][number]['output']) =>
    storageBytes(shape, kind === 'float' ? storage : kind)
  const preludeBytes = [...(prelude?.inputs.values() ?? [])].reduce((sum, input) => sum + size(input), 0)
  graphWithin(graph, frugal, storage, { bytes, besideBytes: (use.besideBytes ?? 0) + preludeBytes })
}

/** What a job's sampling takes on the device beside the denoiser. */
export function samplingBytes(executor: Executor, { parts }: Model, job: Job): number {
  const { latentHeight, latentWidth, prompts, run } = job
  const shape = [prompts.length, latentHeight, latentWidth, parts.denoiser.latentChannels]
  return executor.samplingBytes(shape, run.slots.length)
}

/** What a decoded picture takes on its way to the host: latents of `height` × `width`, pixels as they are stored. */
export function readbackBytes(
  parts: LatentDiffusion,
  { height, width }: { readonly height: number; readonly width: number },
  dtype: StorageDType,
): number {
  const factor = parts.autoencoder.pixelsPerLatent
  return storageBytes([height * factor, width * factor, 3], floatStorage(dtype, false))
}
