// Winograd's convolution F(m×m, 3×3), as a variant for each m: 3×3 kernels of stride 1 with a third to a sixth of the products.
//   for each part of the work that fits into scratch (schedule.ts):
//     V = Bᵀ d B of its tiles, U = G g Gᵀ of its weights (both f32, each made once if the loop allows)
//     M = V · U, t² products [tiles × c] · [c × o], by a variant of `matmul`; of later parts of c, M += V · U
//     when M is whole: y = Aᵀ M A, bias, epilogue, store
// Not fused: t² sums a tile and channel do not fit into registers beside reuse. Loses to direct forms for few channels, where
// the transforms weigh more than the products saved, for few tiles, where the weights' do, and beside matrix units.
import type { Conv2dAttrs, MatmulAttrs } from '../../ops/attrs.ts'
import { convProblemOf, prepareConv } from '../conv2d/problem.ts'
import type { BindingRole, Dispatch, Kernel, Request, Variant } from '../family.ts'
import { broadcastMatmul } from '../matmul/broadcast.ts'
import type { BroadcastParams } from '../matmul/broadcast-text.ts'
import { type DirectParams, directMatmul } from '../matmul/direct.ts'
import { tiledMatmul } from '../matmul/tiled.ts'
import { type SplitParams, tiledTunings } from '../matmul/tiled-text.ts'
import { bindable } from '../wgsl/io.ts'
import { amplification, bestTransforms, type TileSize } from './matrices.ts'
import { productRequest, scratchOf, type WinogradProblem, winogradProblem } from './problem.ts'
import { fitsScratch, fitsWhole, type Schedule, scheduleOf, stepsOf } from './schedule.ts'
import { inputDispatch, outputDispatch, type Range, weightDispatch } from './transforms.ts'

export interface WinogradParams {
  readonly product:
    | { readonly nest: 'broadcast'; readonly tile: BroadcastParams }
    | { readonly nest: 'direct'; readonly tile: DirectParams }
    | { readonly nest: 'tiled'; readonly tile: SplitParams }
  /** Two rows of a transform an invocation rather than all. */
  readonly split: boolean
  /** Bound of V, U and M together: the plan takes the fastest for which it has room. */
  readonly scratchBytes: number
}

const mebibytes = (sizes: readonly number[]) => sizes.map((size) => size * 2 ** 20)
const bounds = {
  software: mebibytes([128, 64, 48, 32, 16, 8, 4]),
  gpu: mebibytes([128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2]),
} as const

/** Tiles of the product that were fastest for some layer of SD 1.5 on an H100: (rows, groups, lanesN, lanesM, tileK). */
const productTiles = new Set(
  ['4,5,8,16,16', '4,5,8,32,16', '8,2,8,16,16', '8,2,8,8,16', '8,1,8,8,16', '4,2,8,8,16', '4,1,8,8,16'], // biome-ignore format: a table
)

/** By broadcast where lanes can share what they load, else directly. */
const onCpus = (tiles: readonly BroadcastParams[]) =>
  bounds.software.flatMap((scratchBytes): WinogradParams[] => [
    ...tiles.map((tile) => ({ product: { nest: 'broadcast' as const, tile }, split: false, scratchBytes })),
    ...directMatmul.tunings.software
      .filter(({ rows, groups }) => rows * groups >= 8)
      .map((tile) => ({ product: { nest: 'direct' as const, tile }, split: false, scratchBytes })),
  ])

const tunings: Variant<Conv2dAttrs, WinogradParams>['tunings'] = {
  software: onCpus(broadcastMatmul.tunings.software),
  // A sixth less of a step of the starter's, for 20 s of compiling.
  lavapipe: onCpus([]),
  // The t² products fill a GPU without splitting k.
  gpu: bounds.gpu.flatMap((scratchBytes) =>
    tiledTunings.gpu
      .filter((tile) => productTiles.has(`${[tile.rows, tile.groups, tile.lanesN, tile.lanesM, tile.tileK]}`))
      .map((tile) => ({ product: { nest: 'tiled', tile: { ...tile, splits: 1 } }, split: true, scratchBytes })),
  ),
}

/** The next bound, of those that are tried on this kind of adapter. */
const nextSmaller = ({ product, scratchBytes }: WinogradParams): number =>
  bounds[product.nest === 'tiled' ? 'gpu' : 'software'].find((bytes) => bytes < scratchBytes) ?? 0

/** The variant of `matmul` that multiplies, with its parameters filled in. */
function multiplier({ product }: WinogradParams) {
  const bound = <P>(variant: Variant<MatmulAttrs, P>, tile: P) => ({
    supports: (request: Request<MatmulAttrs>) => variant.supports(request, tile),
    cost: (request: Request<MatmulAttrs>) => variant.cost(request, tile),
    emit: (request: Request<MatmulAttrs>) => variant.emit(request, tile),
  })
  switch (product.nest) {
    case 'broadcast':
      return bound(broadcastMatmul, product.tile)
    case 'direct':
      return bound(directMatmul, product.tile)
    case 'tiled':
      return bound(tiledMatmul, product.tile)
  }
}

function scheduled(request: Request<Conv2dAttrs>, problem: WinogradProblem, params: WinogradParams): Schedule {
  return scheduleOf(request, problem, params.scratchBytes, multiplier(params).cost)!
}

function emit(request: Request<Conv2dAttrs>, problem: WinogradProblem, params: WinogradParams): Kernel {
  const schedule = scheduled(request, problem, params)
  const { part } = schedule
  // Their operands are this kernel's scratch; undivided, they have none of their own.
  const scratchOfRole = (role: BindingRole): BindingRole => ({
    kind: 'scratch',
    index: role.kind === 'input' ? role.index : 2,
  })
  const productsOf = (depth: number, adds: boolean): readonly Dispatch[] =>
    multiplier(params)
      .emit(productRequest(problem, { ...part, depth }, request.capabilities, adds))
      .dispatches.map(({ label, bindings, ...rest }) => ({
        ...rest,
        label: `conv2d winograd ${label}`,
        bindings: bindings.map(scratchOfRole),
      }))
  const cut = (total: number, each: number, at: number): Range => ({
    first: at * each,
    count: Math.min(each, total - at * each),
  })
  const constants: (readonly number[])[] = []
  const job = {
    ...{ request, problem, part, constants },
    params: { split: params.split, lanes: lanesFor(params.split, problem.t) },
  }
  const dispatches: Dispatch[] = []
  // A depth of a chunk comes back with every slice, and a slice's with every chunk.
  const known = new Map<string, readonly Dispatch[]>()
  const push = (key: string, make: () => readonly Dispatch[]) => {
    const made = known.get(key) ?? make()
    known.set(key, made)
    dispatches.push(...made)
  }
  for (const { chunk, slice, depth, newInputs, newWeights, adds, ends } of stepsOf(schedule)) {
    const tiles = cut(problem.tiles, part.tiles, chunk)
    const groups = cut(problem.o4, part.groups, slice)
    const channels = cut(problem.c4, part.depth, depth)
    if (newInputs) push(`inputs ${chunk} ${depth}`, () => [inputDispatch(job, tiles, channels)])
    if (newWeights) push(`weights ${slice} ${depth}`, () => [weightDispatch(job, groups, channels)])
    push(`products ${channels.count} ${adds}`, () => productsOf(channels.count, adds))
    if (ends) dispatches.push(outputDispatch(job, tiles, groups))
  }
  return { dispatches, scratch: scratchOf(problem, part), constants }
}

/** Invocations along channels: as many as 256 a workgroup allow; few on CPU adapters, which take a workgroup a core. */
function lanesFor(split: boolean, t: number): number {
  return split ? 2 ** Math.floor(Math.log2(256 / (t / 2))) : 16
}

/**
 * Sums of c products in the transformed domain: √c / 6 eps, 8 for the longest (2560 channels), as much again for the roundings of
 * the transforms, and the matrices amplify both. Storage in f16 adds to that its rounding of operands and result, which comes first.
 */
function toleranceOf(rows: TileSize, columns: TileSize) {
  // Of squares `amplification` is the product of both directions' deviations.
  const [down, across] = [rows, columns].map((size) => amplification(bestTransforms[size])) as [number, number]
  return { f32: 16 * Math.sqrt(down * across), f16: 2 }
}

/**
 * Times the estimate. The texts of 6 and 8 are up to four times those of 4: an H100's driver compiles them for seconds each, and
 * for no layer of SD 1.5 do they run more than a tenth faster there.
 */
const handicap: Readonly<Record<TileSize, number>> = { 2: 1, 4: 1, 6: 1.3, 8: 1.3 }

/**
 * F(rows×columns, 3×3). The tiles of 6 and 8 for storage in f16 only: there their errors (up to 2e-5 and 1.3e-4 of the result's RMS,
 * seven and fifty times those of a direct sum; docs/winograd.md) drown in the rounding of the result, 2e-4; in f32 they would be
 * all there is. On CPU adapters they gain nothing over 4 and take seconds to compile.
 */
function winogradConv(rows: TileSize, columns = rows): Variant<Conv2dAttrs, WinogradParams> {
  return {
    name: rows === columns ? `winograd-${rows}` : `winograd-${rows}x${columns}`,
    tunings: columns <= 4 ? tunings : { software: [], gpu: tunings.gpu },
    supports(request, params) {
      const { kh, kw, stride } = convProblemOf(request)
      return (
        kh === 3 &&
        kw === 3 &&
        stride === 1 &&
        (columns <= 4 || request.output.storage !== 'f32') &&
        // With more, results near the corners would be sums of few terms with the errors of whole tiles.
        request.attrs.padding.every((side) => side <= 1) &&
        request.inputs[1]!.space === 'weight' &&
        bindable(request, 1) &&
        !fitsWhole(winogradProblem(request, rows, columns), nextSmaller(params)) &&
        fitsScratch(winogradProblem(request, rows, columns), params.scratchBytes, request.capabilities.kind) &&
        multiplier(params).supports(
          productRequest(
            winogradProblem(request, rows, columns),
            { tiles: 1, groups: 1, depth: 1 },
            request.capabilities,
          ),
        )
      )
    },
    cost: (request, params) =>
      handicap[columns] * scheduled(request, winogradProblem(request, rows, columns), params).cost,
    prepare: (request, _params, index) => prepareConv(request, index),
    scratch(request, params) {
      const problem = winogradProblem(request, rows, columns)
      return scratchOf(problem, scheduled(request, problem, params).part) // the product's k is not split: none of its own
    },
    macs(request) {
      const { positions, tiles, c, o } = winogradProblem(request, rows, columns)
      return positions * tiles * c * o
    },
    emit: (request, params) => emit(request, winogradProblem(request, rows, columns), params),
    tolerance: toleranceOf(rows, columns),
  }
}

/** Of bands of four rows squares of 8 would be half in vain. */
export const winogradConvs = [winogradConv(2), winogradConv(4), winogradConv(6), winogradConv(8), winogradConv(4, 8)]
