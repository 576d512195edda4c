// The loop nest of a tiled product, shared by `matmul` and `conv2d`: what a and b are is left to two WGSL functions.
//   for each tile of (rows·lanesM) × (groups·lanesN·4) results, one a workgroup:
//     for k in steps of tileK:
//       all invocations copy a's rows × tileK and b's tileK × columns into workgroup memory, as f32; barrier
//       each multiplies rows × groups · 4 results out of it; barrier
//     bias, gate, epilogue, store
// Rows and groups of an invocation lie lanesM and lanesN apart: neighbours read neighbouring vec4s (no bank conflicts), and
// 16 of them store 256 bytes in a row. Loops and indices are in the form that Dawn's range analysis proves in bounds
// (constant trip counts, builtins read from the parameters), so that no clamps are inserted into the inner loop.
import type { Limits } from '../family.ts'
import type { Grid } from '../wgsl/grid.ts'
import type { Work } from './cost.ts'

export interface TiledParams {
  /** Rows and groups of four columns that an invocation computes. */
  readonly rows: number
  readonly groups: number
  /** Invocations of a workgroup along columns and along rows. */
  readonly lanesN: number
  readonly lanesM: number
  /** Length of k that is staged at a time, a multiple of 4. */
  readonly tileK: number
}

/** No rows for CPU adapters: their `direct` variants have no barriers. */
export const tiledTunings: { readonly software: readonly TiledParams[]; readonly gpu: readonly TiledParams[] } = {
  software: [],
  gpu: [
    { rows: 8, groups: 2, lanesN: 16, lanesM: 16, tileK: 16 },
    { rows: 8, groups: 1, lanesN: 16, lanesM: 16, tileK: 16 },
    { rows: 4, groups: 1, lanesN: 16, lanesM: 16, tileK: 16 },
    { rows: 8, groups: 2, lanesN: 8, lanesM: 8, tileK: 16 },
    { rows: 4, groups: 1, lanesN: 8, lanesM: 8, tileK: 16 },
  ],
}

export interface TiledProduct {
  readonly batches: number
  readonly m: number
  readonly n4: number
  readonly k4: number
  readonly halves: 1 | 2
  readonly grid: Grid
  /**
   * Defines `tileA(batch, row, kg) -> vec4<f32>`, four k of a row, and `tileB(batch, half, k, group) -> vec4<f32>`, four
   * columns of a k. Rows and groups are clamped into range before; k is below 4·k4.
   */
  readonly loads: string
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

/** Tiles along columns, along rows, and workgroups in all. */
export function tileCounts(params: TiledParams, sizes: Pick<TiledProduct, 'batches' | 'm' | 'n4'>) {
  const tilesN = Math.ceil(sizes.n4 / (params.groups * params.lanesN))
  const tilesM = Math.ceil(sizes.m / (params.rows * params.lanesM))
  return { tilesN, tilesM, workgroups: tilesN * tilesM * sizes.batches }
}

/** What an invocation does, for the estimate of time. */
export function tiledWork(
  params: TiledParams,
  sizes: Pick<TiledProduct, 'batches' | 'm' | 'n4' | 'k4' | 'halves'>,
): Work {
  const { rows, groups, lanesN, lanesM, tileK } = params
  const columns = groups * sizes.halves
  return {
    workgroups: tileCounts(params, sizes).workgroups,
    invocations: lanesN * lanesM,
    steps: Math.ceil((sizes.k4 * 4) / tileK) * (tileK / 4),
    loads: rows + 4 * columns,
    products: 4 * rows * columns,
    staged: true,
  }
}

/** Whether the tile fits a device: invocations, workgroup memory, copies that come out even. */
export function tileFits({ rows, groups, lanesN, lanesM, tileK }: TiledParams, halves: 1 | 2, limits: Limits): boolean {
  const invocations = lanesN * lanesM
  const aCells = (rows * lanesM * tileK) / 4
  const bCells = tileK * groups * lanesN * halves
  return (
    invocations <= limits.maxComputeInvocationsPerWorkgroup &&
    (aCells + bCells) * 16 <= limits.maxComputeWorkgroupStorageSize &&
    aCells % invocations === 0 &&
    bCells % invocations === 0
  )
}

/** The entry point. Needs `finish` of the family's text. */
export function tiledMain(params: TiledParams, product: TiledProduct): string {
  const { rows, groups, lanesN, lanesM, tileK } = params
  const { batches, m, n4, k4, halves, grid, loads } = product
  const { tilesN, tilesM, workgroups } = tileCounts(params, product)
  const invocations = lanesN * lanesM
  const tileK4 = tileK / 4
  const tileN4 = groups * lanesN
  const aCells = rows * lanesM * tileK4
  const bCells = tileK * tileN4 * halves
  // Beyond k, a is zero and b any finite value, such as its last row.
  const whole = k4 % tileK4 === 0
  const aValue = whole
    ? 'tileA(batch, row, kg)'
    : `select(vec4<f32>(), tileA(batch, row, min(kg, ${k4 - 1}u)), kg < ${k4}u)`
  const k = `t * ${tileK}u + i / ${tileN4 * halves}u`
  const row = m % (rows * lanesM) === 0 ? `m0 + i / ${tileK4}u` : `min(m0 + i / ${tileK4}u, ${m - 1}u)`
  const column = `n0 + column % ${tileN4}u`
  const group = n4 % tileN4 === 0 ? column : `min(${column}, ${n4 - 1}u)`
  const columns = range(halves).flatMap((half) => range(groups).map((g) => ({ half, g })))
  const results = range(rows).flatMap((r) => range(groups).flatMap((g) => range(halves).map((h) => `s${r}_${h}_${g}`)))
  const products = range(4).flatMap((j) =>
    columns.flatMap(({ half, g }) => [
      `let b${j}_${half}_${g} = bs[(q * 4u + ${j}u) * ${tileN4 * halves}u + ${half * tileN4 + g * lanesN}u + lid.x];`,
      ...range(rows).map((r) => `s${r}_${half}_${g} += a${r}.${lane[j]} * b${j}_${half}_${g};`),
    ]),
  )
  const values = range(halves).map((half) => `sums[i * ${halves}u + ${half}u]`)
  return `${loads}
var<workgroup> as_: array<vec4<f32>, ${aCells}>;
var<workgroup> bs: array<vec4<f32>, ${bCells}>;
@compute @workgroup_size(${lanesN}, ${lanesM})
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_id) lid: vec3<u32>,
  @builtin(local_invocation_index) li: u32,
) {
  let tile = ${grid.index};
  ${grid.overshoots ? `if (tile >= ${workgroups}u) { return; }` : ''}
  let batch = tile / ${tilesN * tilesM}u;
  let m0 = tile / ${tilesN}u % ${tilesM}u * ${rows * lanesM}u;
  let n0 = tile % ${tilesN}u * ${tileN4}u;
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  for (var t = 0u; t < ${Math.ceil(k4 / tileK4)}u; t++) {
    for (var j = 0u; j < ${aCells / invocations}u; j++) {
      let i = j * ${invocations}u + li;
      let row = ${row};
      let kg = t * ${tileK4}u + i % ${tileK4}u;
      as_[i] = ${aValue};
    }
    for (var j = 0u; j < ${bCells / invocations}u; j++) {
      let i = j * ${invocations}u + li;
      let column = i % ${tileN4 * halves}u;
      let k = ${whole ? k : `min(${k}, ${k4 * 4 - 1}u)`};
      bs[i] = tileB(batch, column / ${tileN4}u, k, ${group});
    }
    workgroupBarrier();
    for (var q = 0u; q < ${tileK4}u; q++) {
      ${range(rows)
        .map((r) => `let a${r} = as_[(lid.y + ${r * lanesM}u) * ${tileK4}u + q];`)
        .join('\n      ')}
      ${products.join('\n      ')}
    }
    workgroupBarrier();
  }
  var sums = array<vec4<f32>, ${results.length}>(${results.join(', ')});
  for (var i = 0u; i < ${rows * groups}u; i++) {
    let row = m0 + lid.y + i / ${groups}u * ${lanesM}u;
    let group = n0 + lid.x + i % ${groups}u * ${lanesN}u;
    if (row < ${m}u && group < ${n4}u) { finish(${batches > 1 ? `batch * ${m}u + ` : ''}row, group, ${values.join(', ')}); }
  }
}
`
}
