// A plan within a limit of memory: of several graphs that compute the same, the first that fits.
import { PhospheneError } from '../error.ts'
import type { Graph, Value } from '../graph/graph.ts'
import type { Storage } from '../kernels/family.ts'
import { floatStorage, groupBytes, storageBytes } from './layout.ts'
import type { Memory } from './memory.ts'
import { chooseMemory } from './order.ts'
import { type ArenaPlan, type PlanOptions, planGraph } from './plan.ts'

/** A graph that needs less memory than another, at a cost. */
export interface FrugalGraph {
  graph(): Graph
  /** No plan needs fewer elements: an estimate from below. */
  readonly leastElements: number
}

/**
 * Graphs by their cost, where there is room for `elements`. Without a limit: those that cost next to nothing, which are taken
 * without being asked for where they save memory.
 */
export type FrugalGraphs = (elements: number | undefined) => Iterable<FrugalGraph>

export interface MemoryLimit {
  /** For everything but weights. */
  readonly bytes: number
  /** What lives beside the graph's intermediates and inputs: a sampler's state, results on their way to the host. */
  readonly besideBytes: number
}

/** Kept free for kernels' constants: what SD 1.5's UNet has where its convolutions pass through scratch in many parts. */
const constantBytes = 2 ** 18

/** Without a limit a graph is taken when it saves at least this part of the memory. */
const worthwhile = 0.95

/**
 * Plans `graph`, or the first of `frugal` that fits into the limit. Without a limit: one of those that saves memory, or, where a
 * tensor is larger than the device can bind, the first that divides it.
 * Raises 'plan/memory' with the least that works, and what `planGraph` raises.
 */
export function planWithin(
  graph: Graph,
  frugal: FrugalGraphs,
  options: PlanOptions,
  limit?: MemoryLimit | undefined,
): ArenaPlan {
  const storage = floatStorage(options.dtype, options.capabilities.shaderF16)
  if (!limit) return unlimited(graph, frugal, options, storage)
  const search = new Search(graph, frugal, storage, limit)
  // Scratch takes what room there is, but for kernels' constants, whose number is known once the kernels are.
  const arenaBytes = search.arenaBytes - Math.min(constantBytes, search.arenaBytes / 64)
  const needed = ({ arenaBytes: arena, constants }: ArenaPlan) => arena + constants.byteLength
  const planned = ({ graph: each, memory }: Fitting, scratchless = false) =>
    planGraph(each, { ...options, arenaBytes, scratchless }, memory)
  for (const each of search.fitting()) {
    // Of small graphs the constants of kernels in many parts weigh more than their scratch.
    for (const scratchless of [false, true]) {
      const plan = planned(each, scratchless)
      if (needed(plan) <= search.arenaBytes) return plan
      search.miss(needed(plan))
    }
  }
  throw search.failure((each) => needed(planned(each, true)))
}

/**
 * The graph that `planWithin` would begin with, going by what lives at the same time alone: without choosing kernels, for
 * executors that have their own, and to know before anything is loaded. Raises 'plan/memory'.
 */
export function graphWithin(graph: Graph, frugal: FrugalGraphs, storage: Storage, limit: MemoryLimit): Graph {
  const search = new Search(graph, frugal, storage, limit)
  for (const each of search.fitting()) return each.graph
  throw search.failure(({ memory }) => memory.peakBytes)
}

function unlimited(graph: Graph, frugal: FrugalGraphs, options: PlanOptions, storage: Storage): ArenaPlan {
  let [best, memory] = [graph, memoryOf(graph, storage)]
  for (const each of frugal(undefined)) {
    const tried = each.graph()
    const its = memoryOf(tried, storage)
    if (its.peakBytes < worthwhile * memory.peakBytes) [best, memory] = [tried, its]
  }
  const most = options.capabilities.limits.maxStorageBufferBindingSize
  const isBindable = ({ lifetimes }: Memory) => [...lifetimes.keys()].every((value) => bytesOf(value, storage) <= most)
  if (isBindable(memory)) return planGraph(best, options, memory)
  // No form divides what comes in and goes out: without this, thousands of bands would be tried in vain.
  const ends = [...graph.inputs.values(), ...graph.outputs.values()]
  if (ends.some((value) => bytesOf(value, storage) > most)) return planGraph(best, options, memory) // raises
  for (const each of frugal(most / (groupBytes[storage] / 4))) {
    const tried = each.graph()
    const its = memoryOf(tried, storage)
    if (isBindable(its)) return planGraph(tried, options, its)
  }
  return planGraph(best, options, memory) // raises
}

interface Fitting {
  readonly graph: Graph
  readonly memory: Memory
}

/** Goes through the graphs from the cheapest on, and keeps what it learns about those that do not fit. */
class Search {
  /** For intermediates: what inputs, and what lives beside the graph, leave. */
  readonly arenaBytes: number
  private readonly graph: Graph
  private readonly frugal: FrugalGraphs
  private readonly storage: Storage
  private readonly limit: MemoryLimit
  private readonly misses: { readonly leastBytes: number; readonly graph: () => Graph }[] = []
  private least = Number.POSITIVE_INFINITY

  constructor(graph: Graph, frugal: FrugalGraphs, storage: Storage, limit: MemoryLimit) {
    this.graph = graph
    this.frugal = frugal
    this.storage = storage
    this.limit = limit
    const inputBytes = [...graph.inputs.values()].reduce((sum, input) => sum + bytesOf(input, storage), 0)
    this.arenaBytes = limit.bytes - limit.besideBytes - inputBytes
  }

  /** The graphs of which not more lives at the same time than there is room for. */
  *fitting(): Generator<Fitting, void, undefined> {
    const { graph, storage, arenaBytes } = this
    const elementBytes = groupBytes[storage] / 4
    for (const each of [{ graph: () => graph, leastElements: 0 }, ...this.frugal(arenaBytes / elementBytes)]) {
      let leastBytes = each.leastElements * elementBytes
      if (leastBytes <= arenaBytes) {
        const tried = each.graph()
        const memory = memoryOf(tried, storage)
        leastBytes = memory.peakBytes
        if (leastBytes <= arenaBytes) {
          yield { graph: tried, memory }
          continue
        }
      }
      this.misses.push({ leastBytes, graph: each.graph })
    }
  }

  /** What fitted did not after all: this is what it takes. */
  miss(bytes: number): void {
    this.least = Math.min(this.least, bytes)
  }

  /** Names the least that works. From the lowest estimate on, as far as one promises less than what is known. */
  failure(needed: (each: Fitting) => number): PhospheneError {
    for (const each of this.misses.sort((a, b) => a.leastBytes - b.leastBytes)) {
      if (each.leastBytes >= this.least) break
      const graph = each.graph()
      const memory = memoryOf(graph, this.storage)
      if (memory.peakBytes < this.least) this.miss(needed({ graph, memory }))
    }
    const { bytes } = this.limit
    const most = Math.ceil((this.least + bytes - this.arenaBytes) / 1e6)
    return new PhospheneError({
      code: 'plan/memory',
      message: `${this.graph.name} cannot do with ${bytes / 1e6} MB for what it computes: at this size it needs ${most} MB`,
      fix: `Allow at least ${most} MB (--memory ${most}), draw a smaller picture, or use --dtype f16, which halves it.`,
    })
  }
}

function memoryOf(graph: Graph, storage: Storage): Memory {
  return chooseMemory(graph, (value) => bytesOf(value, storage))
}

function bytesOf({ shape, kind }: Value, storage: Storage): number {
  return storageBytes(shape, kind === 'float' ? storage : kind)
}
