// Normalisation of each row: (x − mean) · rstd · gamma + beta. Three walks over a row that stays in the caches:
//   sum → mean; sum of (x − mean)² → rstd; result. The mean comes off before squaring, so nothing cancels.
// `workgroup`: the lanes of a workgroup share a row; `lane`: a row a lane, without barriers, where those are slow;
// `subgroup`: a row in the registers of a subgroup.
import type { LayerNormAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText } from '../wgsl/number.ts'
import { type RowLanes, rowLanesCost, rowLanesVariants, rowWalk } from './row-lanes.ts'
import { subgroupLayerNorm } from './subgroup.ts'
import { tolerance } from './tolerance.ts'
import { maskText, workgroupSumText } from './workgroup-sum.ts'

function emit(request: Request<LayerNormAttrs>, params: RowLanes): Kernel {
  const { attrs, output, capabilities } = request
  const io = ioText(requestOperands(request, ['x', 'gamma', 'beta']))
  const { grid, lanes, place, isSpare, walk } = rowWalk(output, params, capabilities)
  const count = `f32(${sizeText(output.channels)})`
  const deviation = output.channels % 4 === 0 ? 'd' : `masked(d, g, 0u, ${sizeText(output.channels)})`
  const wgsl = `${io.enables}${io.text}
${output.channels % 4 === 0 ? '' : maskText('masked')}
${workgroupSumText(params.lanesPerRow)}
${epilogueText(request)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  ${place}
  var sum = vec4<f32>(0.0);
  ${walk('sum += load_x(row, g);')}
  let mean = workgroupSum(lane, dot(sum, vec4<f32>(1.0))) / ${count};
  var squares = vec4<f32>(0.0);
  ${walk(`let d = load_x(row, g) - mean; let e = ${deviation}; squares += e * e;`)}
  let rstd = inverseSqrt(workgroupSum(lane, dot(squares, vec4<f32>(1.0))) / ${count} + ${f32Text(attrs.epsilon)});
  ${isSpare ? `if (${isSpare}) { return; }` : ''}
  ${walk('let v = (load_x(row, g) - mean) * rstd * load_gamma(0u, g) + load_beta(0u, g); store_y(row, g, epilogue(row, g, v));')}
}
`
  return { dispatches: [{ label: 'layerNorm', wgsl, bindings: io.bindings, workgroups: grid.workgroups }], scratch: [] }
}

export const layerNormFamily: Family<LayerNormAttrs> = {
  op: 'layerNorm',
  variants: [
    ...rowLanesVariants<LayerNormAttrs>({
      supports: (request) => bindable(request),
      cost: (request, params) => rowLanesCost(request.output, params, request.capabilities, { walks: 3, vectorNs: 40 }),
      emit,
      tolerance,
    }),
    subgroupLayerNorm,
  ],
}
