// The loop nest of a tiled product, shared by `matmul`, `conv2d` and `winograd`: what a and b are is left to text.
//   for each tile of (rows·lanesM) × (groups·lanesN·4) results, one a workgroup; for each split of k:
//     fetch the first tileK of a and b into registers
//     for k in steps of tileK:
//       registers → workgroup memory, as f32 (staging: tiled-stage.ts); barrier; fetch the next, which arrive meanwhile:
//       each invocation multiplies rows × groups · 4 results: by k, a vec4 of a holds four rows, one of b four columns
//     one split: bias, gate, epilogue, store; more: `finish` keeps partial sums (splits.ts)
// Invocations are numbered so that two neighbours share columns and differ in rows (as in CUTLASS's SIMT products): a load of
// vec4 then asks workgroup memory for 128 different bytes by half a subgroup. Groups of an invocation lie lanesN apart, fours
// of rows lanesM apart: neighbours read neighbouring vec4s. Loops and indices are in the form that Dawn's range analysis
// proves in bounds (constant trip counts, builtins read from the parameters), so that nothing is clamped in the inner loop.
import type { Limits, Storage } from '../family.ts'
import type { Grid } from '../wgsl/grid.ts'
import type { Work } from './cost.ts'
import { stageA, stageB } from './tiled-stage.ts'

export interface TiledParams {
  /** Rows (a multiple of 4) and groups of four columns that an invocation computes. */
  readonly rows: number
  readonly groups: number
  /** Invocations of a workgroup along columns and along rows (an even number). */
  readonly lanesN: number
  readonly lanesM: number
  /** Length of k that is staged at a time, a multiple of 4. */
  readonly tileK: number
  /** TFLOP/s that the tile reaches on an H100 with all multiprocessors busy. */
  readonly rate: number
}

/** A tile whose k several workgroups share. */
export interface SplitParams extends TiledParams {
  readonly splits: number
}

const tile = (rows: number, groups: number, lanesN: number, lanesM: number, tileK: number, rate: number) => ({
  ...{ rows, groups, lanesN, lanesM, tileK, rate },
})

/** No rows for CPU adapters: their `direct` variants have no barriers. The last is the one that tests run there. */
export const tiledTunings: { readonly software: readonly TiledParams[]; readonly gpu: readonly TiledParams[] } = {
  software: [],
  gpu: [
    tile(8, 2, 16, 16, 32, 38), // 128 × 128
    tile(8, 4, 8, 16, 16, 37), // 128 × 128, 128 sums an invocation
    tile(16, 2, 16, 8, 16, 38), // 128 × 128
    tile(8, 2, 8, 16, 16, 38), // 128 × 64
    tile(8, 2, 16, 8, 16, 37), // 64 × 128
    tile(4, 5, 8, 32, 16, 37), // 128 × 160
    tile(4, 5, 8, 16, 16, 37), // 64 × 160
    tile(8, 2, 8, 8, 16, 36), // 64 × 64
    tile(8, 2, 8, 8, 32, 34), // 64 × 64
    tile(8, 1, 8, 8, 16, 34), // 64 × 32
    tile(4, 2, 8, 8, 16, 32), // 32 × 64
    tile(4, 1, 1, 64, 16, 11), // 256 × 4: latents and pictures out
    tile(4, 1, 8, 8, 16, 31), // 32 × 32
  ],
}

/** The same tiles, k in one piece or shared by several workgroups. */
export const splitTunings: { readonly software: readonly SplitParams[]; readonly gpu: readonly SplitParams[] } = {
  software: [],
  gpu: tiledTunings.gpu.flatMap((row) => [16, 12, 8, 6, 4, 3, 2, 1].map((splits) => ({ ...row, splits }))),
}

export interface TiledProduct {
  readonly batches: number
  readonly m: number
  readonly n4: number
  readonly k4: number
  readonly halves: 1 | 2
  readonly grid: Grid
  /** How many workgroups share the k of one tile; 1 unless said. */
  readonly splits?: number
  /**
   * Defines `tileA(batch, row, kg)`, four k of a row, and `tileB(batch, half, k, group)`, four columns of a k. Rows and groups
   * are clamped into range before; k is below 4·k4. With `bRows`, b is rows of k as well: `tileB(batch, half, column, kg)`.
   */
  readonly loads: string
  readonly bRows?: boolean
  /** What `tileA` and `tileB` return: elements as they are stored, converted when they are staged. vec4<f32> unless said. */
  readonly storage?: { readonly a: Storage; readonly b: Storage }
  /** What `tileA` returns is normalised on its way into workgroup memory. */
  readonly norm?: TiledNorm | undefined
  /** In the place of `tileA`, for m that is a multiple of 4. */
  readonly fours?: FourRows
}

/** Expressions: of a row's mean and scale (its x and y), and of a vec4<f32> for four k. Rows and k are clamped into range before. */
export interface TiledNorm {
  moments(row: string): string
  gamma(kg: string): string
  beta(kg: string): string
}

/** A tile of a by four rows at a time, each the work of an invocation (its `item`): what they have in common is found once. */
export interface FourRows {
  /** Declarations for rows 4·`group` … + 3 (an expression, below m / 4). */
  setup(item: number, group: string): string
  /** Expression for four k of row c of them. */
  load(item: number, c: number, at: PlaceA): string
}

/** Four k of a, as expressions; within k. */
export interface PlaceA {
  /** Fours of k: `column` of step `t`, which all invocations share. */
  readonly kg: string
  readonly t: string
  readonly column: string
}

type Sizes = Pick<TiledProduct, 'batches' | 'm' | 'n4' | 'k4' | 'halves'>

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

/** Tiles along columns, along rows, and workgroups in all. */
export function tileCounts(params: TiledParams, sizes: Pick<TiledProduct, 'batches' | 'm' | 'n4'>, splits = 1) {
  const tilesN = Math.ceil(sizes.n4 / (params.groups * params.lanesN))
  const tilesM = Math.ceil(sizes.m / (params.rows * params.lanesM))
  return { tilesN, tilesM, workgroups: tilesN * tilesM * sizes.batches * splits }
}

/** Steps of tileK that a split takes; the last split may go beyond k, where a is zero. */
function stepsOf({ tileK }: TiledParams, k4: number, splits: number): number {
  return Math.ceil(Math.ceil((k4 * 4) / tileK) / splits)
}

function workgroupBytes({ rows, groups, lanesN, lanesM, tileK }: TiledParams, halves: 1 | 2): number {
  return (rows * lanesM + groups * lanesN * 4 * halves) * tileK * 4
}

/** What an invocation does, for the estimate of time. */
export function tiledWork(params: TiledParams, sizes: Sizes, splits = 1): Work {
  const { rows, groups, lanesN, lanesM, tileK, rate } = params
  const columns = groups * sizes.halves
  return {
    workgroups: tileCounts(params, sizes, splits).workgroups,
    invocations: lanesN * lanesM,
    steps: stepsOf(params, sizes.k4, splits) * (tileK / 4),
    loads: rows + 4 * columns,
    products: 4 * rows * columns,
    staged: true,
    tile: { rate, bytes: workgroupBytes(params, sizes.halves), sums: 4 * rows * columns },
  }
}

/** Whether the tile fits a device and the registers, and every split has something to do. */
export function tileFits(
  params: TiledParams,
  sizes: Pick<Sizes, 'halves' | 'k4'>,
  limits: Limits,
  splits = 1,
): boolean {
  const { rows, groups, lanesN, lanesM, tileK } = params
  const steps = Math.ceil((sizes.k4 * 4) / tileK)
  return (
    rows * groups * sizes.halves <= 32 &&
    lanesN * lanesM <= limits.maxComputeInvocationsPerWorkgroup &&
    workgroupBytes(params, sizes.halves) <= limits.maxComputeWorkgroupStorageSize &&
    stepsOf(params, sizes.k4, splits) * (splits - 1) < steps
  )
}

/** The entry point. Needs `finish` of the family's text; with splits, its row is that of the partial sums. */
export function tiledMain(params: TiledParams, product: TiledProduct): string {
  const { rows, groups, lanesN, lanesM, tileK } = params
  const { batches, m, n4, k4, halves, grid, loads, splits = 1 } = product
  const { tilesN, tilesM, workgroups } = tileCounts(params, product, splits)
  const invocations = lanesN * lanesM
  const [tileM4, tileN4, tileK4] = [(rows / 4) * lanesM, groups * lanesN, tileK / 4]
  const steps = stepsOf(params, k4, splits)
  const whole = k4 % tileK4 === 0 && (k4 / tileK4) % splits === 0
  const a = stageA({ tileM4, tileK4, invocations, whole }, product)
  const b = stageB({ tileN4, tileK4, invocations, whole }, product)
  const columns = range(halves).flatMap((half) => range(groups).map((g) => ({ half, g })))
  const results = range(rows).flatMap((r) => range(groups).flatMap((g) => range(halves).map((h) => `s${r}_${h}_${g}`)))
  const products = range(4).flatMap((j) => [
    ...range(rows / 4).map((r) => `let a${j}_${r} = as_[${a.index(j, `ly + ${r * lanesM}u`)}];`),
    ...columns.flatMap(({ half, g }) => [
      `let b${j}_${half}_${g} = bs[${b.index(j, `lx + ${half * tileN4 + g * lanesN}u`)}];`,
      ...range(rows).map(
        (r) => `s${r}_${half}_${g} += a${j}_${Math.floor(r / 4)}.${lane[r % 4]} * b${j}_${half}_${g};`,
      ),
    ]),
  ])
  const values = range(halves).map((half) => `sums[i * ${halves}u + ${half}u]`)
  const first = [
    ...(splits > 1 ? [`split * ${batches * m}u`] : []),
    ...(batches > 1 ? [`batch * ${m}u`] : []),
    'row',
  ].join(' + ')
  return `${loads}
var<workgroup> as_: array<vec4<f32>, ${tileM4 * tileK}>;
var<workgroup> bs: array<vec4<f32>, ${tileN4 * halves * tileK}>;
@compute @workgroup_size(${invocations})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let tile = ${grid.index};
  ${grid.overshoots ? `if (tile >= ${workgroups}u) { return; }` : ''}
  let split = tile / ${tilesN * tilesM * batches}u;
  let batch = tile / ${tilesN * tilesM}u % ${batches}u;
  let m0 = tile / ${tilesN}u % ${tilesM}u * ${rows * lanesM}u;
  let n0 = tile % ${tilesN}u * ${tileN4}u;
  let lx = li / 2u % ${lanesN}u;
  let ly = li % 2u + li / ${2 * lanesN}u * 2u;
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  ${[...a.setup, ...a.registers, ...b.registers].join('\n  ')}
  {
    let t = split * ${steps}u;
    ${[...a.fetch, ...b.fetch].join('\n    ')}
  }
  for (var step = 0u; step < ${steps}u; step++) {
    workgroupBarrier(); // the readers of the last tile are done
    ${[...a.put, ...b.put].join('\n    ')}
    workgroupBarrier();
    if (step + 1u < ${steps}u) {
      let t = split * ${steps}u + step + 1u;
      ${[...a.fetch, ...b.fetch].join('\n      ')}
    }
    for (var q = 0u; q < ${tileK4}u; q++) {
      ${products.join('\n      ')}
    }
  }
  var sums = array<vec4<f32>, ${results.length}>(${results.join(', ')});
  for (var i = 0u; i < ${rows * groups}u; i++) {
    let r = i / ${groups}u;
    let row = m0 + (ly + r / 4u * ${lanesM}u) * 4u + r % 4u;
    let group = n0 + lx + i % ${groups}u * ${lanesN}u;
    if (row < ${m}u && group < ${n4}u) { finish(${first}, group, ${values.join(', ')}); }
  }
}
`
}
