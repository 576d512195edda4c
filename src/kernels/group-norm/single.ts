// One workgroup normalises one (picture, group): three walks over its pixels × channel groups:
//   sum → mean; sum of (x − mean)² → rstd; result.
// One dispatch, so it wins while a group is small (8×8, 16×16). It needs groups of whole vec4s, since it stores in place of
// what it read. Loses on large pictures (32 groups × 2 pictures do not fill a GPU) and on CPUs (barriers).
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { groupNormProblem, tolerance } from './problem.ts'

interface Params {
  /** A power of two. */
  readonly lanes: number
}

function emit(request: Request<GroupNormAttrs>, { lanes }: Params): Kernel {
  const { n, pixels, groups, width } = groupNormProblem(request)
  const groups4 = width / 4
  const io = ioText(requestOperands(request, ['x', 'gamma', 'beta']))
  const grid = splitGrid(n * groups, request.capabilities.limits)
  const count = f32Text(pixels * width)
  const elements = pixels * groups4
  // Counted in turns, which Dawn sees end: other steps than 1 cost a countdown in memory.
  const walk = (body: string) => `for (var t = 0u; t < ${u32Text(Math.ceil(elements / lanes))}; t++) {
    let e = t * ${u32Text(lanes)} + lane;${elements % lanes === 0 ? '' : ` if (e >= ${u32Text(elements)}) { break; }`}
    let row = firstRow + e / ${u32Text(groups4)};
    let g = firstGroup + e % ${u32Text(groups4)};
    ${body}
  }`
  const wgsl = `${io.enables}${io.text}
${workgroupSumText(lanes)}
${epilogueText(request)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let part = ${grid.index};
  let firstRow = part / ${u32Text(groups)} * ${u32Text(pixels)};
  let firstGroup = part % ${u32Text(groups)} * ${u32Text(groups4)};
  var sum = vec4<f32>(0.0);
  ${walk('sum += load_x(row, g);')}
  let mean = workgroupSum(lane, dot(sum, vec4<f32>(1.0))) / ${count};
  var squares = vec4<f32>(0.0);
  ${walk('let d = load_x(row, g) - mean;\n    squares += d * d;')}
  let variance = workgroupSum(lane, dot(squares, vec4<f32>(1.0))) / ${count};
  let rstd = inverseSqrt(variance + ${f32Text(request.attrs.epsilon)});
  ${walk('let v = (load_x(row, g) - mean) * (rstd * load_gamma(0u, g)) + load_beta(0u, g);\n    store_y(row, g, epilogue(row, g, v));')}
}
`
  return {
    dispatches: [{ label: 'groupNorm.single', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

export const singleGroupNorm: Variant<GroupNormAttrs, Params> = {
  name: 'single',
  tunings: { software: [], gpu: [{ lanes: 64 }, { lanes: 256 }] },
  supports: (request, { lanes }) =>
    bindable(request) &&
    groupNormProblem(request).width % 4 === 0 &&
    // Workgroups to spare would store the last part once more, which an epilogue that overwrites its input cannot bear.
    !splitGrid(request.attrs.groups * request.output.shape[0]!, request.capabilities.limits).overshoots &&
    lanes <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup,
  cost(request, { lanes }) {
    const { n, pixels, groups, width } = groupNormProblem(request)
    const turns = Math.ceil((pixels * width) / 4 / lanes)
    if (request.capabilities.kind === 'software') return n * groups * turns * lanes * 100
    const waves = Math.max(1, (n * groups * lanes) / 262_144)
    return 2000 + waves * (turns * 3 * 170 + Math.log2(lanes) * 80) // within a third on an H100, 8×8 to 64×64
  },
  emit,
  tolerance,
}
