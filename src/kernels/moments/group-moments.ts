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
  const [images, parts, width] = [shape[0]!, shape[1]!, channels / groups]
  const io = ioText(requestOperands(request, ['moments', 'gamma']))
  const grid = splitGrid(Math.ceil((images * groups4) / together), request.capabilities.limits)
  const total = f32Text(pixels * width)
  // Counted in turns that are known here: Dawn puts a countdown into loops whose end it cannot see.
  const terms = parts * width
  const walk = (body: string) => `for (var turn = 0u; turn < ${u32Text(Math.ceil(terms / lanes))}; turn++) {
    let e = turn * ${u32Text(lanes)} + first;${terms % lanes === 0 ? '' : `\n    if (e >= ${u32Text(terms)}) { break; }`}
    let part = e / ${u32Text(width)};
    let c = channel + e % ${u32Text(width)};
    let weight = f32(min(${u32Text(partPixels)}, ${u32Text(pixels)} - part * ${u32Text(partPixels)}));
    let at = (image * ${u32Text(parts)} + part) * 2u;
    let own = load_moments(at, c / 4u)[c % 4u];
    ${body}
  }`
  const place = together === 1 ? grid.index : `${grid.index} * ${u32Text(together)} + lane`
  const wgsl = `${io.enables}${io.text}
${workgroupSumText(lanes)}
/** Mean and 1 / deviation of the image's group that begins at a channel. */
fn momentsFrom(image: u32, channel: u32, first: u32, lane: u32) -> vec2<f32> {
  var sum = 0.0;
  ${walk('sum += weight * own;')}
  let mean = workgroupSum(lane, sum) / ${total};
  var squares = 0.0;
  ${walk('let d = own - mean;\n    squares += load_moments(at + 1u, c / 4u)[c % 4u] + weight * d * d;')}
  return vec2<f32>(mean, inverseSqrt(workgroupSum(lane, squares) / ${total} + ${f32Text(epsilon)}));
}
fn groupOf(channel: u32) -> u32 { return min(channel, ${u32Text(channels - 1)}) / ${u32Text(width)} * ${u32Text(width)}; }
@compute @workgroup_size(${lanes * together})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let place = ${place};
  let each = min(place, ${u32Text(images * groups4 - 1)}); // to spare: the last again, not stored
  let image = each / ${u32Text(groups4)};
  let g = each % ${u32Text(groups4)};
  let first = ${lanes === 1 ? '0u' : 'lane'};
  var means = vec4<f32>();
  var scales = vec4<f32>();
  ${
    width % 4 === 0
      ? `let moments = momentsFrom(image, groupOf(g * 4u), first, lane);
  means = vec4<f32>(moments.x);
  scales = vec4<f32>(moments.y);`
      : `for (var i = 0u; i < 4u; i++) {
    let moments = momentsFrom(image, groupOf(g * 4u + i), first, lane);
    means[i] = moments.x;
    scales[i] = moments.y;
  }`
  }
  if (place == each${lanes === 1 ? '' : ' && lane == 0u'}) {
    store_y(image * 2u, g, means);
    store_y(image * 2u + 1u, g, scales * load_gamma(0u, g));
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
    if (request.capabilities.kind === 'software') return shape[0]! * groups4 * terms * lanes * 60
    return 2000 + (terms / lanes) * 2 * 60 + Math.log2(lanes) * 80
  },
  emit,
  // In units of the bound that the op's reference gives; 16 leaves room for a GPU's inverseSqrt.
  tolerance: { f32: 16, f16: 1 },
}

export const groupMomentsFamily: Family<GroupMomentsAttrs> = { op: 'groupMoments', variants: [shared] }
