// A 3×3 convolution as Winograd's kernels see it: tiles, the buffers V (inputs), U (weights) and M (products) in the transformed
// domain, and the product between them as a request to the variants of `matmul`.
import { binary, type Expr, input } from '../../graph/expr.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../../ops/attrs.ts'
import { type ConvProblem, convProblemOf } from '../conv2d/problem.ts'
import type { Operand, Request } from '../family.ts'
import { bestTransforms, type TileSize, type Transforms } from './matrices.ts'

/** The transforms are those along a tile's columns, whose rows they make. */
export interface WinogradProblem extends ConvProblem, Transforms {
  /** Those along its rows: the same where tiles are squares. */
  readonly across: Transforms
  /** Of a tile in the transformed domain. */
  readonly positions: number
  readonly tilesX: number
  readonly tilesY: number
  /** Tiles of all pictures. */
  readonly tiles: number
}

/**
 * The part of the work that lies in scratch at a time: tiles of a chunk, groups of four output channels of a slice, groups of four
 * input channels of a depth.
 */
export interface Part {
  readonly tiles: number
  readonly groups: number
  readonly depth: number
}

export const wholePart = ({ tiles, o4, c4 }: WinogradProblem): Part => ({ tiles, groups: o4, depth: c4 })

/** A request meets every variant and tuning, and each asks several times. */
const problems = new WeakMap<Request<Conv2dAttrs>, Map<string, WinogradProblem>>()

export function winogradProblem(request: Request<Conv2dAttrs>, rows: TileSize, columns = rows): WinogradProblem {
  const known = problems.get(request) ?? new Map<string, WinogradProblem>()
  problems.set(request, known)
  const key = `${rows} ${columns}`
  const problem = known.get(key) ?? problemOf(request, rows, columns)
  known.set(key, problem)
  return problem
}

function problemOf(request: Request<Conv2dAttrs>, rows: TileSize, columns: TileSize): WinogradProblem {
  const conv = convProblemOf(request)
  const [down, across] = [bestTransforms[rows], bestTransforms[columns]]
  const tilesX = Math.ceil(conv.ow / columns)
  const tilesY = Math.ceil(conv.oh / rows)
  const tiles = conv.n * tilesX * tilesY
  return { ...conv, ...down, across, positions: down.t * across.t, tilesX, tilesY, tiles }
}

/**
 * Rows of a transform that one invocation computes: all, or two at a time that share the most. Of inputs 0 and ∞, then ±a;
 * of results an even and an odd row.
 */
export function rowSets(rows: number, kind: 'inputs' | 'results', split: boolean): readonly (readonly number[])[] {
  const all = Array.from({ length: rows }, (_, i) => i)
  if (!split) return [all]
  const order = kind === 'inputs' ? [0, rows - 1, ...all.slice(1, -1)] : all
  return Array.from({ length: rows / 2 }, (_, p) => order.slice(2 * p, 2 * p + 2))
}

/** Bytes of V [t²][tiles][depth·4], U [t²][depth·4][groups·4] and M [t²][tiles][groups·4], in f32. */
export function scratchOf(
  { positions }: WinogradProblem,
  { tiles, groups, depth }: Part,
): readonly [v: number, u: number, m: number] {
  const vectors = positions * 16
  return [vectors * tiles * depth, vectors * depth * 4 * groups, vectors * tiles * groups]
}

/** The result and what its place holds. */
const sum: Expr = binary('add', input(0), input(1))

/**
 * M = V · U, one product for each of the t² positions; M += V · U if it `adds` to what earlier depths left there. Channels are whole
 * groups: V and U are zero beyond the last.
 */
export function productRequest(
  { positions }: WinogradProblem,
  { tiles, groups, depth }: Part,
  capabilities: Request<Conv2dAttrs>['capabilities'],
  adds = false,
): Request<MatmulAttrs> {
  const operand = (slot: number, rows: number, groups4: number): Operand => ({
    slot,
    shape: [positions, rows, groups4 * 4],
    storage: 'f32',
    rows: positions * rows,
    channels: groups4 * 4,
    groups4,
    stride4: groups4,
    offset4: 0,
    space: 'arena',
  })
  const output = operand(2, tiles, groups)
  return {
    attrs: { transposeA: false, transposeB: false },
    inputs: [operand(0, tiles, depth), operand(1, depth * 4, groups)],
    output,
    ...(adds && { epilogue: { expr: sum, inputs: [output] } }),
    capabilities,
  }
}
