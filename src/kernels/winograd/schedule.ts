// In which parts a convolution passes through scratch: tiles in chunks, output channels in slices, so that V, U and M of a part
// stay within a bound whatever the layer. What does not change in the inner loop is transformed once.
import type { Conv2dAttrs, MatmulAttrs } from '../../ops/attrs.ts'
import type { Request } from '../family.ts'
import { transformCosts } from './cost.ts'
import { type Part, productRequest, scratchOf, type WinogradProblem } from './problem.ts'

export interface Schedule {
  /** Room of a part: every chunk and slice but the last fills it. */
  readonly part: Part
  readonly chunks: number
  readonly slices: number
  /** The outer loop: its transform is made once, the other's again in each turn if it has more than one part. */
  readonly outer: 'chunks' | 'slices'
  /** Nanoseconds, estimated. */
  readonly cost: number
}

/** A chunk's tiles are whole rows of the product's tile, a slice's groups likewise, where there is more than one. */
const unit = { tiles: 32, groups: 8 } as const

const sliceCounts = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64]

function share(total: number, parts: number, multiple: number): number {
  return parts === 1 ? total : Math.ceil(total / parts / multiple) * multiple
}

const bytesOf = (problem: WinogradProblem, part: Part) =>
  scratchOf(problem, part).reduce((sum, bytes) => sum + bytes, 0)

/** Whether the smallest part there is fits into `scratchBytes`. */
export function fitsScratch(problem: WinogradProblem, scratchBytes: number): boolean {
  const smallest = { tiles: Math.min(problem.tiles, unit.tiles), groups: Math.min(problem.o4, unit.groups) }
  return bytesOf(problem, smallest) <= scratchBytes
}

/** Whether the layer fits into `scratchBytes` in one part, so that more would change nothing. */
export function fitsWhole(problem: WinogradProblem, scratchBytes: number): boolean {
  return bytesOf(problem, { tiles: problem.tiles, groups: problem.o4 }) <= scratchBytes
}

/** The cheapest schedule within `scratchBytes`; undefined when there is none. */
export function scheduleOf(
  request: Request<Conv2dAttrs>,
  problem: WinogradProblem,
  scratchBytes: number,
  productCost: (request: Request<MatmulAttrs>) => number,
): Schedule | undefined {
  const { kind } = request.capabilities
  let best: Schedule | undefined
  for (const wanted of sliceCounts) {
    if (wanted > Math.ceil(problem.o4 / unit.groups)) break
    const groups = share(problem.o4, wanted, unit.groups)
    const slices = Math.ceil(problem.o4 / groups)
    if (slices < wanted) continue // the same as with fewer
    const [, uBytes] = scratchOf(problem, { tiles: 0, groups })
    const [vPerTile, , mPerTile] = scratchOf(problem, { tiles: 1, groups })
    const room = Math.floor((scratchBytes - uBytes) / (vPerTile + mPerTile))
    const tiles = room >= problem.tiles ? problem.tiles : Math.floor(room / unit.tiles) * unit.tiles
    if (tiles <= 0) continue
    const fewest = Math.ceil(problem.tiles / tiles)
    const even = share(problem.tiles, fewest, unit.tiles)
    const chunks = Math.ceil(problem.tiles / even)
    const part = { tiles: even, groups }
    const each = transformCosts(kind, problem, part)
    const products = chunks * slices * (productCost(productRequest(problem, part, request.capabilities)) + each.results)
    for (const outer of ['chunks', 'slices'] as const) {
      const inputs = each.inputs * chunks * (outer === 'slices' && chunks > 1 ? slices : 1)
      const weights = each.weights * slices * (outer === 'chunks' && slices > 1 ? chunks : 1)
      const cost = products + inputs + weights
      if (!best || cost < best.cost) best = { part, chunks, slices, outer, cost }
    }
  }
  return best
}
