// Kernels that walk rows from memory: some lanes share a row, or each has one of its own. How they are dealt out, and how a row is
// walked, as text.
import type { Capabilities, Operand, Request, Variant } from '../family.ts'
import { type Grid, splitGrid } from '../wgsl/grid.ts'
import { sizeText, u32Text } from '../wgsl/number.ts'

export interface RowLanes {
  /** Lanes that share a row: a power of two. */
  readonly lanesPerRow: number
  readonly rowsPerWorkgroup: number
}

export interface RowWalk {
  readonly grid: Grid
  readonly lanes: number
  /** Declares `row`; rows to spare repeat the last one where lanes must meet at barriers. */
  readonly place: string
  /** To come before anything is stored, where rows to spare have not returned already: whether there is no such row. */
  readonly isSpare: string | undefined
  /** A loop with `g` over the vec4s of a lane's share of the row. */
  walk(body: string): string
}

export function rowWalk({ rows, groups4 }: Operand, params: RowLanes, { limits }: Capabilities): RowWalk {
  const { lanesPerRow, rowsPerWorkgroup } = params
  const grid = splitGrid(Math.ceil(rows / rowsPerWorkgroup), limits)
  const last = sizeText(rows - 1)
  const shared = lanesPerRow > 1
  return {
    grid,
    lanes: lanesPerRow * rowsPerWorkgroup,
    place: shared
      ? `let place = ${grid.index};
  let row = min(place, ${last});`
      : `let row = ${grid.index} * ${u32Text(rowsPerWorkgroup)} + lane;
  if (row > ${last}) { return; }`,
    isSpare: shared ? `place > ${last}` : undefined,
    // Counted in turns, which Dawn sees end: other steps than 1 cost a countdown in memory.
    walk: (body) =>
      shared
        ? `for (var t = 0u; t < ${u32Text(Math.ceil(groups4 / lanesPerRow))}; t++) {
    let g = t * ${u32Text(lanesPerRow)} + lane; if (g >= ${u32Text(groups4)}) { break; }
    ${body}
  }`
        : `for (var g = 0u; g < ${sizeText(groups4)}; g++) { ${body} }`,
  }
}

function rowLanesFit({ lanesPerRow, rowsPerWorkgroup }: RowLanes, { limits }: Capabilities): boolean {
  return lanesPerRow * rowsPerWorkgroup <= limits.maxComputeInvocationsPerWorkgroup
}

/** A lane's share of the row, `walks` times, and the barriers of two sums. `vectorNs`: of a vec4 on a CPU, all walks together. */
export function rowLanesCost(
  { rows, groups4 }: Operand,
  { lanesPerRow }: RowLanes,
  { kind }: Capabilities,
  { walks, vectorNs }: { readonly walks: number; readonly vectorNs: number },
): number {
  const share = Math.ceil(groups4 / lanesPerRow)
  if (kind === 'software') return rows * share * lanesPerRow * vectorNs + rows * (lanesPerRow - 1) * 200
  const waves = Math.max(1, (rows * lanesPerRow) / 262_144)
  const spread = lanesPerRow === 1 ? 4 : 1 // rows a lane: loads of a warp lie far apart
  return 2000 + waves * (share * walks * 60 * spread + Math.log2(lanesPerRow) * 2 * 40)
}

/** `workgroup`: the lanes of a workgroup share a row; `lane`: a row a lane, without barriers, where those are slow. */
export function rowLanesVariants<A>(
  variant: Pick<Variant<A, RowLanes>, 'cost' | 'emit' | 'tolerance'> & {
    supports(request: Request<A>): boolean
  },
): readonly Variant<A, RowLanes>[] {
  const common = {
    ...variant,
    supports: (request: Request<A>, params: RowLanes) =>
      variant.supports(request) && rowLanesFit(params, request.capabilities),
  }
  return [
    {
      ...common,
      name: 'workgroup',
      tunings: { software: [], gpu: [32, 64, 128, 256].map((lanesPerRow) => ({ lanesPerRow, rowsPerWorkgroup: 1 })) },
    },
    {
      ...common,
      name: 'lane',
      tunings: {
        software: [{ lanesPerRow: 1, rowsPerWorkgroup: 16 }],
        gpu: [{ lanesPerRow: 1, rowsPerWorkgroup: 64 }],
      },
    },
  ]
}
