// Products whose k is shared by several workgroups: the partial sums (f32, in scratch) and the dispatch that adds them up and
// does what follows a sum. Used by the tiled variants and by those on matrix units, of `matmul` and of `conv2d`.
import type { Dispatch, Request } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, type NamedScratch, requestOperands } from '../wgsl/io.ts'

export interface PartialSums {
  readonly splits: number
  readonly rows: number
  readonly n4: number
  readonly halves: 1 | 2
  /** In vec4: from row to row (values first, then gates), and from split to split. */
  readonly rowStride: number
  readonly splitStride: number
}

/** Partial sums that hold nothing but results. */
export function plainSums(sizes: Pick<PartialSums, 'splits' | 'rows' | 'n4' | 'halves'>): PartialSums {
  const rowStride = sizes.n4 * sizes.halves
  return { ...sizes, rowStride, splitStride: sizes.rows * rowStride }
}

export const partialBytes = ({ splits, splitStride }: PartialSums) => splits * splitStride * 16

export const partialScratch: NamedScratch = { name: 'partial_', index: 0, element: 'vec4<f32>' }

/** `finish` for the first dispatch: row `split · rows + row` of the partial sums. */
export function keepText({ rowStride, n4, halves }: PartialSums): string {
  return halves === 1
    ? `fn finish(row: u32, group: u32, v: vec4<f32>) { partial_[row * ${rowStride}u + group] = v; }`
    : `fn finish(row: u32, group: u32, v: vec4<f32>, gate: vec4<f32>) {
  partial_[row * ${rowStride}u + group] = v;
  partial_[row * ${rowStride}u + ${n4}u + group] = gate;
}`
}

/** The second dispatch: one invocation a row's group of four, then the family's `finish`: bias, gate, epilogue, store. */
export function sumSplits<A>(
  request: Request<A>,
  names: readonly string[],
  finishText: string,
  { splits, rows, n4, halves, rowStride, splitStride }: PartialSums,
): Dispatch {
  const lanes = 256
  const grid = splitGrid(Math.ceil((rows * n4) / lanes), request.capabilities.limits)
  const operands = requestOperands(request, names).filter(({ name, role }) => role.kind !== 'input' || name === 'bias')
  const io = ioText(operands, [partialScratch])
  const sum = (first: string) =>
    Array.from({ length: splits }, (_, s) => `partial_[${s * splitStride}u + ${first}]`).join(' + ')
  const wgsl = `${io.enables}${io.text}
${finishText}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let i = ${grid.index} * ${lanes}u + li;
  if (i >= ${rows * n4}u) { return; }
  let row = i / ${n4}u;
  let group = i % ${n4}u;
  let at = row * ${rowStride}u + group;
  finish(row, group, ${sum('at')}${halves === 2 ? `, ${sum(`${n4}u + at`)}` : ''});
}
`
  return { label: 'sum of splits', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}
