// In which parts a convolution passes through scratch: tiles in chunks, output channels in slices, and where that leaves parts too
// thin, input channels in depths, whose products add up in M; so that V, U and M of a part stay within a bound whatever the layer.
// What scratch holds already is not transformed again.
import type { Conv2dAttrs, MatmulAttrs } from '../../ops/attrs.ts'
import type { Capabilities, Request } from '../family.ts'
import { dispatchNs, type TransformCosts, transformCosts } from './cost.ts'
import { type Part, productRequest, scratchOf, type WinogradProblem, wholePart } from './problem.ts'

/** A turn is a chunk of a slice: it goes through all depths before its results leave M. */
interface Division {
  /** Room of a part: every chunk, slice and depth but the last fills it. */
  readonly part: Part
  readonly chunks: number
  readonly slices: number
  readonly depths: number
}

export interface Schedule extends Division {
  /** The outer loop: its transform is made once, the other's again in each turn if it has more than one part. */
  readonly outer: 'chunks' | 'slices'
  /** Nanoseconds, estimated. */
  readonly cost: number
}

/** A part of a schedule: which chunk, slice and depth, and what has to be done for it. */
interface Step {
  readonly chunk: number
  readonly slice: number
  readonly depth: number
  readonly newInputs: boolean
  readonly newWeights: boolean
  /** Whether M holds sums of this turn already, and whether they are whole after it. */
  readonly adds: boolean
  readonly ends: boolean
}

/** A chunk's tiles are whole rows of the product's tile, a slice's groups and a depth's likewise, where there is more than one. */
const unit = { tiles: 32, groups: 8, depth: 4 } as const

const counts = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64]

/** Layers in depths take no more: the time of dispatches is fixed, and so is that of encoding them. */
const dispatchesAtMost = 150

/**
 * Times the estimate of a division into depths: no GPU's times have been held against it yet, so that it is taken where it is well
 * ahead, or where products are what counts.
 */
const depthsHandicap = 1.25

/** Of the divisions into depths those are compared with the products beneath, which take longer to estimate. */
const comparedDivisions = 4

function share(total: number, parts: number, multiple: number): number {
  return parts === 1 ? total : Math.ceil(total / parts / multiple) * multiple
}

const bytesOf = (problem: WinogradProblem, part: Part) =>
  scratchOf(problem, part).reduce((sum, bytes) => sum + bytes, 0)

/** Whether the layer fits into `scratchBytes` in one part, so that more would change nothing. */
export function fitsWhole(problem: WinogradProblem, scratchBytes: number): boolean {
  return bytesOf(problem, wholePart(problem)) <= scratchBytes
}

/** Whether there is a schedule within `scratchBytes`. */
export function fitsScratch(problem: WinogradProblem, scratchBytes: number, kind: Capabilities['kind']): boolean {
  const smallest = {
    tiles: Math.min(problem.tiles, unit.tiles),
    groups: Math.min(problem.o4, unit.groups),
    depth: problem.c4,
  }
  return bytesOf(problem, smallest) <= scratchBytes || inDepths(problem, scratchBytes, kind).length > 0
}

/** Into so many slices and depths, and as few chunks as fit; undefined where fewer come to the same, or nothing fits. */
function divisionInto(
  problem: WinogradProblem,
  scratchBytes: number,
  wanted: { readonly slices: number; readonly depths: number },
): Division | undefined {
  const groups = share(problem.o4, wanted.slices, unit.groups)
  const depth = share(problem.c4, wanted.depths, unit.depth)
  const slices = Math.ceil(problem.o4 / groups)
  const depths = Math.ceil(problem.c4 / depth)
  if (slices < wanted.slices || depths < wanted.depths) return undefined
  const [vPerTile, uBytes, mPerTile] = scratchOf(problem, { tiles: 1, groups, depth })
  const room = Math.floor((scratchBytes - uBytes) / (vPerTile + mPerTile))
  const tiles = room >= problem.tiles ? problem.tiles : Math.floor(room / unit.tiles) * unit.tiles
  if (tiles <= 0) return undefined
  const even = share(problem.tiles, Math.ceil(problem.tiles / tiles), unit.tiles)
  return { part: { tiles: even, groups, depth }, chunks: Math.ceil(problem.tiles / even), slices, depths }
}

/** How often the parts of one kind are transformed: a turn begins at the depth where the one before it ended. */
function transformed(own: number, other: number, depths: number, isOuter: boolean): number {
  return isOuter || own === 1 ? own * (depths + (other - 1) * (depths - 1)) : own * other * depths
}

type Outer = Schedule['outer']
const outers: readonly Outer[] = ['chunks', 'slices']

function dispatchesOf({ chunks, slices, depths }: Division, outer: Outer): number {
  const inputs = transformed(chunks, slices, depths, outer === 'chunks')
  const weights = transformed(slices, chunks, depths, outer === 'slices')
  return inputs + weights + chunks * slices * (depths + 1)
}

/** Nanoseconds, where a part's product takes `product`. */
function costOf(
  { chunks, slices, depths }: Division,
  outer: Outer,
  { inputs, weights, results, sums }: TransformCosts,
  product: number,
): number {
  return (
    chunks * slices * (depths * product + (depths - 1) * sums + results) +
    transformed(chunks, slices, depths, outer === 'chunks') * inputs +
    transformed(slices, chunks, depths, outer === 'slices') * weights
  )
}

const known = new WeakMap<WinogradProblem, Map<number, readonly Division[]>>()

/** The divisions into several depths whose transforms take the least time: those of one depth are few, and all compared. */
function inDepths(problem: WinogradProblem, scratchBytes: number, kind: Capabilities['kind']): readonly Division[] {
  const byBytes = known.get(problem) ?? new Map<number, readonly Division[]>()
  known.set(problem, byBytes)
  const divisions = byBytes.get(scratchBytes) ?? cheapestInDepths(problem, scratchBytes, kind)
  byBytes.set(scratchBytes, divisions)
  return divisions
}

function cheapestInDepths(
  problem: WinogradProblem,
  scratchBytes: number,
  kind: Capabilities['kind'],
): readonly Division[] {
  if (fitsWhole(problem, scratchBytes)) return []
  const found: { readonly division: Division; readonly cost: number }[] = []
  for (const slices of counts) {
    if (slices > Math.ceil(problem.o4 / unit.groups)) break
    for (const depths of counts.slice(1)) {
      if (depths > Math.ceil(problem.c4 / unit.depth) || slices * depths > dispatchesAtMost) break
      const division = divisionInto(problem, scratchBytes, { slices, depths })
      if (!division || outers.every((outer) => dispatchesOf(division, outer) > dispatchesAtMost)) continue
      const costs = transformCosts(kind, problem, division.part)
      const cost = Math.min(...outers.map((outer) => costOf(division, outer, costs, dispatchNs[kind])))
      found.push({ division, cost })
    }
  }
  return found
    .sort((a, b) => a.cost - b.cost)
    .slice(0, comparedDivisions)
    .map(({ division }) => division)
}

/** The cheapest schedule within `scratchBytes`; undefined when there is none. */
export function scheduleOf(
  request: Request<Conv2dAttrs>,
  problem: WinogradProblem,
  scratchBytes: number,
  productCost: (request: Request<MatmulAttrs>) => number,
): Schedule | undefined {
  const { capabilities } = request
  let best: Schedule | undefined
  const consider = (division: Division) => {
    const costs = transformCosts(capabilities.kind, problem, division.part)
    const product = productCost(productRequest(problem, division.part, capabilities))
    for (const outer of outers) {
      const cost = costOf(division, outer, costs, product) * (division.depths > 1 ? depthsHandicap : 1)
      if (!best || cost < best.cost) best = { ...division, outer, cost }
    }
  }
  for (const slices of counts) {
    if (slices > Math.ceil(problem.o4 / unit.groups)) break
    const division = divisionInto(problem, scratchBytes, { slices, depths: 1 })
    if (division) consider(division)
  }
  for (const division of inDepths(problem, scratchBytes, capabilities.kind)) consider(division)
  return best
}

/** The parts in the order in which they pass through scratch: depths forth in one turn and back in the next. */
export function* stepsOf({ chunks, slices, depths, outer }: Schedule): Iterable<Step> {
  let held: Pick<Step, 'chunk' | 'slice' | 'depth'> | undefined
  for (let turn = 0; turn < chunks * slices; turn++) {
    const [chunk, slice] =
      outer === 'chunks' ? [Math.floor(turn / slices), turn % slices] : [turn % chunks, Math.floor(turn / chunks)]
    for (let i = 0; i < depths; i++) {
      const depth = turn % 2 === 0 ? i : depths - 1 - i
      const same = held?.depth === depth
      yield {
        ...{ chunk, slice, depth, adds: i > 0, ends: i + 1 === depths },
        newInputs: !same || held?.chunk !== chunk,
        newWeights: !same || held?.slice !== slice,
      }
      held = { chunk, slice, depth }
    }
  }
}
