// Convolution without workgroup memory: each invocation computes a strip of `pixels` along a line × `groups` · 4 channels.
//   for each strip and block of output groups (one an invocation):
//     for ky, for four input channels: load the strip's columns once
//       for kx (unrolled): 4 · groups × vec4 of weights (along o), 16 · pixels · groups multiply-adds from the same columns
//     bias, epilogue, store
// Right on CPU adapters, where barriers are dear; on GPUs `tiled` reuses weights across lines as well.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { estimate } from '../matmul/cost.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable } from '../wgsl/io.ts'
import { convProblemOf, convText, prepareConv } from './problem.ts'

export interface DirectConvParams {
  /** Output pixels of a strip, output groups of four channels. */
  readonly pixels: number
  readonly groups: number
  /** Invocations of a workgroup along output groups and along strips. */
  readonly lanesN: number
  readonly lanesM: number
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

export const directConv: Variant<Conv2dAttrs, DirectConvParams> = {
  name: 'direct',
  tunings: {
    software: [
      // SwiftShader, two cores: 4.0, 3.0 and 3.4 GFLOP/s on the starter's 3×3 shapes; 0.2, 0.12 and 0.1 s to compile.
      { pixels: 8, groups: 2, lanesN: 4, lanesM: 4 },
      { pixels: 4, groups: 2, lanesN: 4, lanesM: 4 },
      { pixels: 8, groups: 1, lanesN: 1, lanesM: 16 },
      { pixels: 1, groups: 2, lanesN: 4, lanesM: 4 },
    ],
    gpu: [
      { pixels: 4, groups: 2, lanesN: 8, lanesM: 8 },
      { pixels: 4, groups: 1, lanesN: 8, lanesM: 8 },
      { pixels: 2, groups: 1, lanesN: 1, lanesM: 64 },
    ],
  },
  supports: (request, { pixels, groups, lanesN, lanesM }) => {
    const { kw } = convProblemOf(request)
    return (
      bindable(request) &&
      request.inputs[1]!.space === 'weight' &&
      lanesN * lanesM <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup &&
      // The unrolled text: 48 · 4 multiply-adds of vec4 compile in 0.2 s on SwiftShader, twice as many in 0.7 s.
      kw * pixels * groups <= 48
    )
  },
  cost(request, { pixels, groups, lanesN, lanesM }) {
    const { n, oh, ow, o4, c4, kh, kw, stride } = convProblemOf(request)
    const strips = n * oh * Math.ceil(ow / pixels)
    return estimate(request.capabilities.kind, {
      workgroups: Math.ceil(strips / lanesM) * Math.ceil(o4 / (groups * lanesN)),
      invocations: lanesN * lanesM,
      steps: kh * c4,
      loads: (pixels - 1) * stride + kw + 4 * kw * groups,
      products: 4 * kw * pixels * groups,
      staged: false,
    })
  },
  prepare: (request, _params, index) => prepareConv(request, index),
  emit: emitDirect,
  // As for products: sums of up to 9 · 2560 terms in f32, in practice about √k eps; f16 storage rounds operands and result.
  tolerance: { f32: 32, f16: 2 },
}

function emitDirect(request: Request<Conv2dAttrs>, { pixels, groups, lanesN, lanesM }: DirectConvParams): Kernel {
  const { n, h, w, c4, oh, ow, o4, kh, kw, stride, top, left } = convProblemOf(request)
  const { stride4 } = request.inputs[0]!
  const stripsX = Math.ceil(ow / pixels)
  const strips = n * oh * stripsX
  const tilesN = Math.ceil(o4 / (groups * lanesN))
  const grid = splitGrid(tilesN * Math.ceil(strips / lanesM), request.capabilities.limits)
  const { io, text } = convText(request)
  const wholeN = o4 % (groups * lanesN) === 0
  // Column j of a strip is input column x0 · stride + j − left: only some can lie outside, and which is known here.
  const columns = range((pixels - 1) * stride + kw)
  const lastX = (stripsX - 1) * pixels * stride
  const mayBeOutside = (j: number) => j < left || lastX + j - left >= w
  const places = columns.flatMap((j) =>
    mayBeOutside(j)
      ? [
          `let c${j} = first + ${j};`,
          `let in${j} = c${j} >= 0 && c${j} < ${w};`,
          `let p${j} = u32(clamp(c${j}, 0, ${w - 1})) * ${stride4}u;`,
        ]
      : [`let p${j} = u32(first + ${j}) * ${stride4}u;`],
  )
  const loads = columns.map((j) => {
    const load = `at_x(line + p${j} + t)`
    return `let a${j} = ${mayBeOutside(j) ? `select(vec4<f32>(), ${load}, in${j})` : load};`
  })
  const products = range(kw).flatMap((kx) =>
    range(4).flatMap((j) => [
      `let k${kx}_${j} = tap + ${(kx * c4 * 4 + j) * o4}u;`,
      ...range(groups).flatMap((g) => [
        `let b${kx}_${j}_${g} = at_weight(k${kx}_${j} + h${g});`,
        ...range(pixels).map((i) => `s${i}_${g} += a${i * stride + kx}.${lane[j]} * b${kx}_${j}_${g};`),
      ]),
    ]),
  )
  const results = range(pixels).flatMap((i) => range(groups).map((g) => `s${i}_${g}`))
  const wgsl = `${io.enables}${io.text}
${text}
@compute @workgroup_size(${lanesN}, ${lanesM})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let tile = ${grid.index};
  let strip = tile / ${tilesN}u * ${lanesM}u + lid.y;
  if (strip >= ${strips}u) { return; }
  let g0 = tile % ${tilesN}u * ${groups * lanesN}u + lid.x;
  ${range(groups - 1)
    .map((g) => `let g${g + 1} = g0 + ${(g + 1) * lanesN}u;`)
    .join('\n  ')}
  ${range(groups)
    .map((g) => `let h${g} = ${wholeN ? `g${g}` : `min(g${g}, ${o4 - 1}u)`};`)
    .join('\n  ')}
  let x0 = strip % ${stripsX}u * ${pixels}u;
  let oy = strip / ${stripsX}u % ${oh}u;
  let image = strip / ${stripsX * oh}u;
  let first = i32(x0 * ${stride}u) - ${left};
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  ${places.join('\n  ')}
  let firstY = i32(oy * ${stride}u) - ${top};
  let endY = u32(clamp(${h} - firstY, 0, ${kh}));
  for (var ky = u32(max(-firstY, 0)); ky < endY; ky++) {
    let line = (image * ${h}u + u32(firstY + i32(ky))) * ${w * stride4}u;
    for (var t = 0u; t < ${c4}u; t++) {
      let tap = (ky * ${kw * c4 * 4}u + t * 4u) * ${o4}u;
      ${[...loads, ...products].join('\n      ')}
    }
  }
  let row = (image * ${oh}u + oy) * ${ow}u + x0;
  // A loop, since ${pixels * groups} copies of the epilogue would take longer to compile than all the rest.
  var sums = array<vec4<f32>, ${pixels * groups}>(${results.join(', ')});
  for (var i = 0u; i < ${pixels * groups}u; i++) {
    let x = i / ${groups}u;
    let group = g0 + i % ${groups}u * ${lanesN}u;
    if (x0 + x < ${ow}u && group < ${o4}u) { finish(row + x, group, sums[i]); }
  }
}
`
  return {
    dispatches: [{ label: 'conv2d direct', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
