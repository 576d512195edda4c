// Mean and 1 / deviation of each row, the mean off before squaring. Two walks over a row that stays in the caches:
//   sum → mean; Σ (x − mean)² → 1 / √(variance + epsilon)
// `workgroup`: the lanes of a workgroup share a row; `lane`: a row a lane, without barriers, where those are slow;
// `subgroup`: a row in the registers of a subgroup, read once (layer-norm/subgroup-rows.ts).
import type { RowMomentsAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import {
  range,
  type SubgroupParams,
  subgroupCost,
  subgroupHolds,
  subgroupRows,
  subgroupTunings,
} from '../layer-norm/subgroup-rows.ts'
import { maskText, workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText, u32Text } from '../wgsl/number.ts'

interface Params {
  /** Lanes that share a row: a power of two. */
  readonly lanesPerRow: number
  readonly rowsPerWorkgroup: number
}

const stored = 'vec4<f32>(mean, inverseSqrt(variance), 0.0, 0.0)'

function emit(request: Request<RowMomentsAttrs>, { lanesPerRow, rowsPerWorkgroup }: Params): Kernel {
  const { attrs, output, capabilities } = request
  const { groups4, channels } = request.inputs[0]!
  const io = ioText(requestOperands(request, ['x']))
  const grid = splitGrid(Math.ceil(output.rows / rowsPerWorkgroup), capabilities.limits)
  const shared = lanesPerRow > 1
  const last = sizeText(output.rows - 1)
  // Rows to spare repeat the last one where lanes must meet at barriers; they store nothing.
  const place = shared
    ? `let place = ${grid.index};
  let row = min(place, ${last});`
    : `let row = ${grid.index} * ${u32Text(rowsPerWorkgroup)} + lane;
  if (row > ${last}) { return; }`
  // Counted in turns, which Dawn sees end: other steps than 1 cost a countdown in memory.
  const walk = (body: string) =>
    shared
      ? `for (var t = 0u; t < ${u32Text(Math.ceil(groups4 / lanesPerRow))}; t++) {
    let g = t * ${u32Text(lanesPerRow)} + lane; if (g >= ${u32Text(groups4)}) { break; }
    ${body}
  }`
      : `for (var g = 0u; g < ${sizeText(groups4)}; g++) { ${body} }`
  const count = `f32(${sizeText(channels)})`
  const whole = channels % 4 === 0
  const wgsl = `${io.enables}${io.text}
${whole ? '' : maskText('masked')}
${workgroupSumText(lanesPerRow)}
@compute @workgroup_size(${lanesPerRow * rowsPerWorkgroup})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  ${place}
  var sum = vec4<f32>(0.0);
  ${walk('sum += load_x(row, g);')}
  let mean = workgroupSum(lane, dot(sum, vec4<f32>(1.0))) / ${count};
  var squares = vec4<f32>(0.0);
  ${walk(`let d = load_x(row, g) - mean; let e = ${whole ? 'd' : `masked(d, g, 0u, ${sizeText(channels)})`}; squares += e * e;`)}
  let variance = workgroupSum(lane, dot(squares, vec4<f32>(1.0))) / ${count} + ${f32Text(attrs.epsilon)};
  ${shared ? `if (place > ${last} || lane > 0u) { return; }` : ''}
  store_y(row, 0u, ${stored});
}
`
  return {
    dispatches: [{ label: 'rowMoments', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

function supports(request: Request<RowMomentsAttrs>, { lanesPerRow, rowsPerWorkgroup }: Params): boolean {
  const lanes = lanesPerRow * rowsPerWorkgroup
  return (
    bindable(request) && !request.epilogue && lanes <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup
  )
}

/** As a layer normalisation's (layer-norm/family.ts), a walk less. */
function cost(request: Request<RowMomentsAttrs>, { lanesPerRow }: Params): number {
  const { output, capabilities } = request
  const { groups4 } = request.inputs[0]!
  const share = Math.ceil(groups4 / lanesPerRow)
  if (capabilities.kind === 'software')
    return output.rows * share * lanesPerRow * 25 + output.rows * (lanesPerRow - 1) * 200
  const waves = Math.max(1, (output.rows * lanesPerRow) / 262_144)
  const spread = lanesPerRow === 1 ? 4 : 1 // rows a lane: loads of a warp lie far apart
  return 2000 + waves * (share * 2 * 60 * spread + Math.log2(lanesPerRow) * 2 * 40)
}

// In units of the bounds that the op's reference gives: see layer-norm/tolerance.ts. Stored in f32 whatever the graph's type.
const tolerance = { f32: 8, f16: 1.25 }

const workgroup: Variant<RowMomentsAttrs, Params> = {
  name: 'workgroup',
  tunings: { software: [], gpu: [32, 64, 128, 256].map((lanesPerRow) => ({ lanesPerRow, rowsPerWorkgroup: 1 })) },
  supports,
  cost,
  emit,
  tolerance,
}

const lane: Variant<RowMomentsAttrs, Params> = {
  name: 'lane',
  tunings: { software: [{ lanesPerRow: 1, rowsPerWorkgroup: 16 }], gpu: [{ lanesPerRow: 1, rowsPerWorkgroup: 64 }] },
  supports,
  cost,
  emit,
  tolerance,
}

function emitSubgroup(request: Request<RowMomentsAttrs>, { rows }: SubgroupParams): Kernel {
  const { attrs, inputs, output, capabilities } = request
  const [lanes] = capabilities.subgroupSize
  const io = ioText(requestOperands(request, ['x']))
  const grid = splitGrid(Math.ceil(output.rows / rows), capabilities.limits)
  const held = subgroupRows(inputs[0]!, rows, lanes)
  const each = (text: (r: number) => string) => range(rows).map(text).join('\n')
  const wgsl = `enable subgroups;
${io.enables}${io.text}
${held.functions}
fn store(row: u32, mean: f32, variance: f32) { store_y(row, 0u, ${stored}); }
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let first = ${grid.index} * ${u32Text(rows)};
  if (first > ${u32Text(output.rows - 1)}) { return; }
${held.text}
${each((r) => `  let variance${r} = ${held.variance(r)} + ${f32Text(attrs.epsilon)};`)}
  if (lane == 0u) { // rows to spare store the last one again
${each((r) => `    store(row${r}, mean${r}, variance${r});`)}
  }
}
`
  return {
    dispatches: [{ label: 'rowMoments.subgroup', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

const subgroup: Variant<RowMomentsAttrs, SubgroupParams> = {
  name: 'subgroup',
  tunings: { software: [], gpu: subgroupTunings },
  supports: (request, { rows }) =>
    bindable(request) && !request.epilogue && subgroupHolds(request.capabilities, request.inputs[0]!.groups4, rows),
  cost: (request, { rows }) => subgroupCost(request.capabilities, request.inputs[0]!, rows),
  emit: emitSubgroup,
  tolerance,
}

export const rowMomentsFamily: Family<RowMomentsAttrs> = { op: 'rowMoments', variants: [workgroup, lane, subgroup] }
