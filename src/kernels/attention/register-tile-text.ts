// The loop nest of a product without workgroup memory, for CPU adapters: what a and b are is left to the same text as for the
// tiled nest (matmul/tiled-text.ts).
//   for each tile of rows × groups · 4 results, one an invocation:
//     for k in steps of 4: load rows × vec4 of a, 4 · groups × vec4 of b; 16 · rows · groups multiply-adds
//     finish
import type { Work } from '../matmul/cost.ts'
import type { TiledProduct } from '../matmul/tiled-text.ts'

export interface RegisterTile {
  /** Rows and groups of four columns that an invocation computes. */
  readonly rows: number
  readonly groups: number
  /** Invocations of a workgroup along columns and along rows. */
  readonly lanesN: number
  readonly lanesM: number
}

type Sizes = Pick<TiledProduct, 'batches' | 'm' | 'n4' | 'k4'>

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

export function registerTiles({ rows, groups, lanesN, lanesM }: RegisterTile, { batches, m, n4 }: Sizes) {
  const tilesN = Math.ceil(n4 / (groups * lanesN))
  const tilesM = Math.ceil(m / (rows * lanesM))
  return { tilesN, tilesM, workgroups: tilesN * tilesM * batches }
}

export function registerWork(tile: RegisterTile, sizes: Sizes): Work {
  const { rows, groups, lanesN, lanesM } = tile
  return {
    workgroups: registerTiles(tile, sizes).workgroups,
    invocations: lanesN * lanesM,
    steps: sizes.k4,
    loads: rows + 4 * groups,
    products: 4 * rows * groups,
    staged: false,
  }
}

/** The entry point. Needs `finish` of the family's text. */
export function registerMain(tile: RegisterTile, product: TiledProduct): string {
  const { rows, groups, lanesN, lanesM } = tile
  const { batches, m, n4, k4, grid, loads, bRows } = product
  const { tilesN, tilesM } = registerTiles(tile, product)
  const clamp = (text: string, whole: boolean, last: number) => (whole ? text : `min(${text}, ${last}u)`)
  const results = range(rows).flatMap((r) => range(groups).map((g) => `s${r}_${g}`))
  const b = range(groups).flatMap((g) =>
    bRows
      ? [
          `let m${g} = mat4x4<f32>(${range(4).map((c) => `tileB(batch, 0u, h${g} * 4u + ${c}u, t)`)});`,
          ...range(rows).map((r) => `s${r}_${g} += a${r} * m${g};`),
        ]
      : range(4).flatMap((j) => [
          `let b${g}_${j} = tileB(batch, 0u, t * 4u + ${j}u, h${g});`,
          ...range(rows).map((r) => `s${r}_${g} += a${r}.${lane[j]} * b${g}_${j};`),
        ]),
  )
  return `${loads}
@compute @workgroup_size(${lanesN}, ${lanesM})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let tile = ${grid.index};
  let batch = tile / ${tilesN * tilesM}u;
  let first = (tile / ${tilesN}u % ${tilesM}u * ${lanesM}u + lid.y) * ${rows}u;
  if (first >= ${m}u${grid.overshoots ? ` || batch >= ${batches}u` : ''}) { return; }
  let g0 = tile % ${tilesN}u * ${groups * lanesN}u + lid.x;
  ${range(groups)
    .map((g) => `let h${g} = ${clamp(`g0 + ${g * lanesN}u`, n4 % (groups * lanesN) === 0, n4 - 1)};`)
    .join('\n  ')}
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  for (var t = 0u; t < ${k4}u; t++) {
    ${range(rows)
      .map((r) => `let a${r} = tileA(batch, ${clamp(`first + ${r}u`, m % rows === 0, m - 1)}, t);`)
      .join('\n    ')}
    ${b.join('\n    ')}
  }
  // A loop, since ${rows * groups} copies of what follows would take longer to compile than all the rest.
  var sums = array<vec4<f32>, ${results.length}>(${results.join(', ')});
  for (var i = 0u; i < ${rows * groups}u; i++) {
    let row = first + i / ${groups}u;
    let group = g0 + i % ${groups}u * ${lanesN}u;
    if (row < ${m}u && group < ${n4}u) { finish(${batches > 1 ? `batch * ${m}u + ` : ''}row, group, sums[i]); }
  }
}
`
}
