// Normalisation of each row: (x − mean) · rstd · gamma + beta. Three walks over a row that stays in the caches:
//   sum → mean; sum of (x − mean)² → rstd; result. The mean comes off before squaring, so nothing cancels.
// `workgroup`: the lanes of a workgroup share a row; `lane`: a row a lane, without barriers, where those are slow;
// `subgroup`: a row in the registers of a subgroup.
import type { LayerNormAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText, u32Text } from '../wgsl/number.ts'
import { subgroupLayerNorm } from './subgroup.ts'
import { tolerance } from './tolerance.ts'
import { maskText, workgroupSumText } from './workgroup-sum.ts'

interface Params {
  /** Lanes that share a row: a power of two. */
  readonly lanesPerRow: number
  readonly rowsPerWorkgroup: number
}

function supports(request: Request<LayerNormAttrs>, params: Params): boolean {
  return (
    bindable(request) &&
    params.lanesPerRow * params.rowsPerWorkgroup <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup
  )
}

/** A lane's share of the row, three times, and the barriers of two sums. */
function cost(request: Request<LayerNormAttrs>, { lanesPerRow }: Params): number {
  const { output, capabilities } = request
  const share = Math.ceil(output.groups4 / lanesPerRow)
  if (capabilities.kind === 'software')
    return output.rows * share * lanesPerRow * 40 + output.rows * (lanesPerRow - 1) * 200
  const waves = Math.max(1, (output.rows * lanesPerRow) / 262_144)
  const spread = lanesPerRow === 1 ? 4 : 1 // rows a lane: loads of a warp lie far apart
  return 2000 + waves * (share * 3 * 60 * spread + Math.log2(lanesPerRow) * 2 * 40)
}

function emit(request: Request<LayerNormAttrs>, params: Params): Kernel {
  const { attrs, output, capabilities } = request
  const { lanesPerRow, rowsPerWorkgroup } = params
  const io = ioText(requestOperands(request, ['x', 'gamma', 'beta']))
  const grid = splitGrid(Math.ceil(output.rows / rowsPerWorkgroup), capabilities.limits)
  const lanes = lanesPerRow * rowsPerWorkgroup
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
      ? `for (var t = 0u; t < ${u32Text(Math.ceil(output.groups4 / lanesPerRow))}; t++) {
    let g = t * ${u32Text(lanesPerRow)} + lane; if (g >= ${u32Text(output.groups4)}) { break; }
    ${body}
  }`
      : `for (var g = 0u; g < ${sizeText(output.groups4)}; g++) { ${body} }`
  const count = `f32(${sizeText(output.channels)})`
  const deviation = output.channels % 4 === 0 ? 'd' : `masked(d, g, 0u, ${sizeText(output.channels)})`
  const wgsl = `${io.enables}${io.text}
${output.channels % 4 === 0 ? '' : maskText('masked')}
${workgroupSumText(lanesPerRow)}
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
  ${shared ? `if (place > ${last}) { return; }` : ''}
  ${walk('let v = (load_x(row, g) - mean) * rstd * load_gamma(0u, g) + load_beta(0u, g); store_y(row, g, epilogue(row, g, v));')}
}
`
  return { dispatches: [{ label: 'layerNorm', wgsl, bindings: io.bindings, workgroups: grid.workgroups }], scratch: [] }
}

const workgroup: Variant<LayerNormAttrs, Params> = {
  name: 'workgroup',
  tunings: { software: [], gpu: [32, 64, 128, 256].map((lanesPerRow) => ({ lanesPerRow, rowsPerWorkgroup: 1 })) },
  supports,
  cost,
  emit,
  tolerance,
}

const lane: Variant<LayerNormAttrs, Params> = {
  name: 'lane',
  tunings: { software: [{ lanesPerRow: 1, rowsPerWorkgroup: 16 }], gpu: [{ lanesPerRow: 1, rowsPerWorkgroup: 64 }] },
  supports,
  cost,
  emit,
  tolerance,
}

export const layerNormFamily: Family<LayerNormAttrs> = {
  op: 'layerNorm',
  variants: [workgroup, lane, subgroupLayerNorm],
}
