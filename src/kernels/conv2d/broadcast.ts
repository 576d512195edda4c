// Convolution on CPUs: the product over pixels, the lanes of a subgroup sharing their loads of the input.
//   for each tile of pixels × groups · 4 channels (one a subgroup; each lane has its own channels):
//     for ky, kx: each lane finds the input pixel of its own output pixel
//       for four input channels: it loads them and 4 · groups × vec4 of weights (along o)
//         for each pixel: its channels broadcast from the lane that has them; 4 · groups multiply-adds
//     bias, epilogue, store
// See matmul/broadcast.ts for the reasons. Taps, strides and padding are data, so one text serves all convolutions.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { broadcastMatmul } from '../matmul/broadcast.ts'
import { type BroadcastParams, broadcasts, range, stepText, sumName, turnsText } from '../matmul/broadcast-text.ts'
import { estimate } from '../matmul/cost.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable } from '../wgsl/io.ts'
import { sizeText as size } from '../wgsl/number.ts'
import { convProblemOf, convText, prepareConv, storedIndex } from './problem.ts'

/** Whether a subgroup can share this convolution's loads. */
export function broadcastsConv(request: Request<Conv2dAttrs>): boolean {
  return broadcasts(request.capabilities) && bindable(request) && request.inputs[1]!.space === 'weight'
}

export const broadcastConv: Variant<Conv2dAttrs, BroadcastParams> = {
  name: 'broadcast',
  tunings: broadcastMatmul.tunings,
  // Where lanes share few loads, normalising them again and again is dearer than writing them once.
  supports: (request) => broadcastsConv(request) && !request.attrs.normalised,
  cost(request, { rowsPerLane, groups }) {
    const { n, oh, ow, o4, c4, kh, kw } = convProblemOf(request)
    const lanes = request.capabilities.subgroupSize[0]
    const rows = rowsPerLane * lanes
    return estimate(request.capabilities.kind, {
      workgroups: Math.ceil((n * oh * ow) / rows) * Math.ceil(o4 / (groups * lanes)),
      invocations: lanes,
      steps: kh * kw * c4,
      loads: rowsPerLane + 4 * groups,
      products: 4 * rows * groups,
      staged: false,
    })
  },
  prepare: (request, _params, index) => prepareConv(request, index),
  emit: emitBroadcast,
  // As for `direct`: the same terms, tap by tap.
  tolerance: { f32: 32, f16: 2 },
}

function emitBroadcast(request: Request<Conv2dAttrs>, { rowsPerLane, groups }: BroadcastParams): Kernel {
  const problem = convProblemOf(request)
  const { n, h, w, storedH, storedW, c4, oh, ow, o4, kh, kw, stride, top, left } = problem
  const { limits, subgroupSize } = request.capabilities
  const lanes = subgroupSize[0]
  const rows = rowsPerLane * lanes
  const pixels = n * oh * ow
  const tilesN = Math.ceil(o4 / (groups * lanes))
  const tiles = tilesN * Math.ceil(pixels / rows)
  const grid = splitGrid(tiles, limits)
  const { stride4 } = request.inputs[0]!
  const { io, text } = convText(request)
  const results = range(rows).flatMap((r) => range(groups).map((g) => sumName(r, g)))
  const eachOfMine = (body: (q: number) => string) => range(rowsPerLane).map(body).join('\n  ')
  const wgsl = `${io.enables}enable subgroups;
${io.text}
${text}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = ${grid.index};
  if (tile >= ${size(tiles)}) { return; }
  let r0 = tile / ${size(tilesN)} * ${rows}u;
  let g0 = tile % ${size(tilesN)} * ${groups * lanes}u + lane;
  ${range(groups)
    .map((g) => `let h${g} = min(g0 + ${g * lanes}u, ${size(o4 - 1)});`)
    .join('\n  ')}
  ${eachOfMine(
    (q) => `let pixel${q} = min(r0 + ${q * lanes}u + lane, ${size(pixels - 1)});
  let x${q} = i32(pixel${q} % ${size(ow)} * ${size(stride)}) - i32(${size(left >>> 0)});
  let y${q} = i32(pixel${q} / ${size(ow)} % ${size(oh)} * ${size(stride)}) - i32(${size(top >>> 0)});
  let n${q} = pixel${q} / ${size(ow * oh)} * ${size(storedH)};`,
  )}
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  for (var tap = 0u; tap < ${size(kh * kw)}; tap++) {
    let ky = i32(tap / ${size(kw)});
    let kx = i32(tap % ${size(kw)});
    ${eachOfMine(
      (
        q,
      ) => `let inside${q} = y${q} + ky >= 0 && y${q} + ky < i32(${size(h)}) && x${q} + kx >= 0 && x${q} + kx < i32(${size(w)});
    let p${q} = select(0u, ((n${q} + ${storedIndex(problem, `u32(y${q} + ky)`)}) * ${size(storedW)} + ${storedIndex(problem, `u32(x${q} + kx)`)}) * ${size(stride4)}, inside${q});`,
    )}
    let firstB = tap * ${size(c4 * 4 * o4)};
    for (var t = 0u; t < ${size(c4)}; t++) {
      ${stepText(
        lanes,
        { rowsPerLane, columns: groups },
        (q) => `select(vec4<f32>(), at_x(p${q} + t), inside${q})`,
        (j, g) => `at_weight(firstB + (t * 4u + ${j}u) * ${size(o4)} + h${g})`,
      ).join('\n      ')}
    }
  }
  ${turnsText(
    results,
    1,
    (i) => `let row = r0 + ${i} / ${groups}u;
    let group = g0 + ${i} % ${groups}u * ${lanes}u;
    if (row < ${size(pixels)} && group < ${size(o4)}) { finish(row, group, ${results[0]}); }`,
  )}
}
`
  return {
    dispatches: [{ label: 'conv2d broadcast', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
