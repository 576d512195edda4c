// Mean and 1 / deviation of each row, the mean off before squaring. Two walks over a row that stays in the caches:
//   sum → mean; Σ (x − mean)² → 1 / √(variance + epsilon)
// `workgroup`: the lanes of a workgroup share a row; `lane`: a row a lane, without barriers, where those are slow;
// `subgroup`: a row in the registers of a subgroup, read once (layer-norm/subgroup-rows.ts).
import type { RowMomentsAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { type RowLanes, rowLanesCost, rowLanesVariants, rowWalk } from '../layer-norm/row-lanes.ts'
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

const stored = 'vec4<f32>(mean, inverseSqrt(variance), 0.0, 0.0)'

function emit(request: Request<RowMomentsAttrs>, params: RowLanes): Kernel {
  const { attrs, capabilities } = request
  const x = request.inputs[0]!
  const { channels } = x
  const io = ioText(requestOperands(request, ['x']))
  const { grid, lanes, place, isSpare, walk } = rowWalk(x, params, capabilities)
  const count = `f32(${sizeText(channels)})`
  const whole = channels % 4 === 0
  const wgsl = `${io.enables}${io.text}
${whole ? '' : maskText('masked')}
${workgroupSumText(params.lanesPerRow)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  ${place}
  var sum = vec4<f32>(0.0);
  ${walk('sum += load_x(row, g);')}
  let mean = workgroupSum(lane, dot(sum, vec4<f32>(1.0))) / ${count};
  var squares = vec4<f32>(0.0);
  ${walk(`let d = load_x(row, g) - mean; let e = ${whole ? 'd' : `masked(d, g, 0u, ${sizeText(channels)})`}; squares += e * e;`)}
  let variance = workgroupSum(lane, dot(squares, vec4<f32>(1.0))) / ${count} + ${f32Text(attrs.epsilon)};
  ${isSpare ? `if (${isSpare} || lane > 0u) { return; }` : ''}
  store_y(row, 0u, ${stored});
}
`
  return {
    dispatches: [{ label: 'rowMoments', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

// In units of the bounds that the op's reference gives: see layer-norm/tolerance.ts. Stored in f32 whatever the graph's type.
const tolerance = { f32: 8, f16: 1.25 }

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

export const rowMomentsFamily: Family<RowMomentsAttrs> = {
  op: 'rowMoments',
  variants: [
    ...rowLanesVariants<RowMomentsAttrs>({
      supports: (request) => bindable(request) && !request.epilogue,
      cost: (request, params) =>
        rowLanesCost(request.inputs[0]!, params, request.capabilities, { walks: 2, vectorNs: 25 }),
      emit,
      tolerance,
    }),
    subgroup,
  ],
}
