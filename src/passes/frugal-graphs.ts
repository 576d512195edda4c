// The same computation in less and less memory, as graphs for a plan to choose from. What each costs more, it costs in
// multiply-adds and dispatches; which one fits is the plan's to find out.
import type { Graph } from '../graph/graph.ts'
import { storedElements } from './band-division.ts'
import { bandSchedules } from './band-schedules.ts'
import { chunkFeedForward, hasFeedForward } from './chunk-feed-forward.ts'
import { complete, finish, type OptimiseOptions } from './passes.ts'
import { divideRows } from './row-bands.ts'
import { splitImages } from './split-images.ts'

export interface FrugalGraph {
  graph(): Graph
  /** Elements that live at the same time in any case: no plan needs fewer. */
  readonly leastElements: number
}

/** A band of the widest image is at most this part of the memory: beside what is stored there must be room for a dozen. */
const bandsOfMemory = 32

/** A tile of Winograd's. */
const leastRows = 4

/**
 * The fewest multiply-adds first.
 * @param unfused of `optimiseInParts`
 * @param elements for which there is room; none given: only graphs that cost next to nothing
 */
export function* frugalGraphs(
  unfused: Graph,
  elements: number | undefined,
  options: OptimiseOptions = {},
): Generator<FrugalGraph, void, undefined> {
  const fused = finish(unfused, options)
  const layers = hasFeedForward(fused)
  const last = (graph: Graph) => complete(graph, options)
  const inChunks = (graph: Graph, chunks: number) => last(layers ? chunkFeedForward(graph, chunks) : graph)
  if (layers) yield { graph: () => inChunks(fused, 2), leastElements: 0 }
  if (elements === undefined) return
  if (layers) yield { graph: () => inChunks(fused, 8), leastElements: 0 }
  for (const down of [8, 32] as const) {
    const apart = splitImages(fused, down)
    if (apart.nodes.length === fused.nodes.length) continue
    yield { graph: () => last(apart), leastElements: 0 }
    if (layers) yield { graph: () => inChunks(apart, 4), leastElements: 0 }
  }
  for (const schedule of bandSchedules(unfused)) {
    const widest = Math.max(...[...schedule.divided].map(({ output }) => storedElements([1, ...output.shape.slice(2)])))
    const fitting = 2 ** Math.floor(Math.log2(elements / bandsOfMemory / widest))
    for (let rows = Math.max(leastRows, fitting); rows >= leastRows; rows /= 2)
      yield {
        graph: () => inChunks(finish(divideRows(unfused, { ...schedule, rows }), options), 8),
        leastElements: schedule.storedElements,
      }
  }
}
