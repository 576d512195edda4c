// Moments of channels and parts joined into those of groups; lanes share a vec4 of channels, one a workgroup:
//   for each group that the vec4 touches (one, where groups are whole vec4s):
//     mean = Σ wᵢ meanᵢ / Σ wᵢ;  M2 = Σ M2ᵢ + Σ wᵢ (meanᵢ − mean)²  (Chan, Golub, LeVeque 1983, eq. 2.1 for many parts)
// A group is summed once for each of its vec4s: nothing beside the image. With one lane there are no barriers.
import type { GroupMomentsAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'

interface Params {
  /** That share a vec4, a power of two. */
  readonly lanes: number
  /** Vec4s of a workgroup: more than one only for one lane each. */
  readonly together: number
}

function emit(request: Request<GroupMomentsAttrs>, { lanes, together }: Params): Kernel {
  const { groups, epsilon, pixels, partPixels } = request.attrs
  const { shape, channels, groups4 } = request.inputs[0]!
  const [parts, width] = [shape[1]!, channels / groups]
  const io = ioText(requestOperands(request, ['moments', 'gamma']))
  const grid = splitGrid(Math.ceil(groups4 / together), request.capabilities.limits)
  const total = f32Text(pixels * width)
  const walk = (body: string) => `for (var e = first; e < ${u32Text(parts * width)}; e += ${u32Text(lanes)}) {
    let part = e / ${u32Text(width)};
    let c = channel + e % ${u32Text(width)};
    let weight = f32(min(${u32Text(partPixels)}, ${u32Text(pixels)} - part * ${u32Text(partPixels)}));
    let own = load_moments(part * 2u, c / 4u)[c % 4u];
    ${body}
  }`
  const place = together === 1 ? grid.index : `${grid.index} * ${u32Text(together)} + lane`
  const wgsl = `${io.enables}${io.text}
${workgroupSumText(lanes)}
/** Mean and 1 / deviation of the group that begins at a channel. */
fn momentsFrom(channel: u32, first: u32, lane: u32) -> vec2<f32> {
  var sum = 0.0;
  ${walk('sum += weight * own;')}
  let mean = workgroupSum(lane, sum) / ${total};
  var squares = 0.0;
  ${walk('let d = own - mean;\n    squares += load_moments(part * 2u + 1u, c / 4u)[c % 4u] + weight * d * d;')}
  return vec2<f32>(mean, inverseSqrt(workgroupSum(lane, squares) / ${total} + ${f32Text(epsilon)}));
}
fn groupOf(channel: u32) -> u32 { return min(channel, ${u32Text(channels - 1)}) / ${u32Text(width)} * ${u32Text(width)}; }
@compute @workgroup_size(${lanes * together})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let place = ${place};
  let g = min(place, ${u32Text(groups4 - 1)}); // to spare: the last again, not stored
  let first = ${lanes === 1 ? '0u' : 'lane'};
  var means = vec4<f32>();
  var scales = vec4<f32>();
  ${
    width % 4 === 0
      ? `let moments = momentsFrom(groupOf(g * 4u), first, lane);
  means = vec4<f32>(moments.x);
  scales = vec4<f32>(moments.y);`
      : `for (var i = 0u; i < 4u; i++) {
    let moments = momentsFrom(groupOf(g * 4u + i), first, lane);
    means[i] = moments.x;
    scales[i] = moments.y;
  }`
  }
  if (place == g${lanes === 1 ? '' : ' && lane == 0u'}) {
    store_y(0u, g, means);
    store_y(1u, g, scales * load_gamma(0u, g));
  }
}
`
  return {
    dispatches: [{ label: 'groupMoments', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

const shared: Variant<GroupMomentsAttrs, Params> = {
  name: 'merge',
  tunings: {
    software: [{ lanes: 1, together: 16 }],
    gpu: [
      { lanes: 64, together: 1 },
      { lanes: 256, together: 1 },
    ],
  },
  supports: (request, { lanes, together }) =>
    bindable(request) &&
    !request.epilogue &&
    lanes * together <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup,
  cost(request, { lanes }) {
    const { shape, channels, groups4 } = request.inputs[0]!
    const terms = (shape[1]! * channels) / request.attrs.groups
    if (request.capabilities.kind === 'software') return groups4 * terms * lanes * 60
    return 2000 + (terms / lanes) * 2 * 60 + Math.log2(lanes) * 80
  },
  emit,
  // In units of the bound that the op's reference gives; 16 leaves room for a GPU's inverseSqrt.
  tolerance: { f32: 16, f16: 1 },
}

export const groupMomentsFamily: Family<GroupMomentsAttrs> = { op: 'groupMoments', variants: [shared] }
