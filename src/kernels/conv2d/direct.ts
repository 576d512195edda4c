// Convolution without workgroup memory: each invocation computes a strip of `pixels` along a line × `groups` · 4 channels.
//   for each strip and block of output groups (one an invocation):
//     for ky, for four input channels: load the strip's columns once
//       for kx (written out): 4 · groups × vec4 of weights (along o), 16 · pixels · groups multiply-adds from the same columns
//     bias, epilogue, store
// With `taps: 'looped'` kx is a loop around the one over channels: a third of the text, columns loaded kw times.
// Right on CPU adapters, where barriers are dear; on GPUs `tiled` reuses weights across lines as well.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { estimate } from '../matmul/cost.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable } from '../wgsl/io.ts'
import { sizeText as size } from '../wgsl/number.ts'
import { broadcastsConv } from './broadcast.ts'
import { type ConvProblem, convProblemOf, convText, prepareConv, storedIndex } from './problem.ts'

export interface DirectConvParams {
  /** Output pixels of a strip, output groups of four channels. */
  readonly pixels: number
  readonly groups: number
  /** Invocations of a workgroup along output groups and along strips. */
  readonly lanesN: number
  readonly lanesM: number
  readonly taps: 'written' | 'looped'
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

export const directConv: Variant<Conv2dAttrs, DirectConvParams> = {
  name: 'direct',
  tunings: {
    software: [
      // SwiftShader, two cores: 4.0, 3.0 and 3.4 GFLOP/s on the starter's 3×3 shapes; 0.2, 0.12 and 0.1 s to compile.
      { pixels: 8, groups: 2, lanesN: 4, lanesM: 4, taps: 'written' },
      { pixels: 4, groups: 2, lanesN: 4, lanesM: 4, taps: 'written' },
      { pixels: 8, groups: 1, lanesN: 1, lanesM: 16, taps: 'written' },
      { pixels: 1, groups: 2, lanesN: 4, lanesM: 4, taps: 'written' },
    ],
    lavapipe: [{ pixels: 4, groups: 1, lanesN: 8, lanesM: 2, taps: 'looped' }],
    gpu: [
      { pixels: 4, groups: 2, lanesN: 8, lanesM: 8, taps: 'written' },
      { pixels: 4, groups: 1, lanesN: 8, lanesM: 8, taps: 'written' },
      { pixels: 2, groups: 1, lanesN: 1, lanesM: 64, taps: 'written' },
    ],
  },
  supports: (request, { pixels, groups, lanesN, lanesM, taps }) => {
    const { kw } = convProblemOf(request)
    return (
      bindable(request) &&
      request.inputs[1]!.space === 'weight' &&
      lanesN * lanesM <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup &&
      // The unrolled text: 48 · 4 multiply-adds of vec4 compile in 0.2 s on SwiftShader, twice as many in 0.7 s.
      (taps === 'looped' ? 1 : kw) * pixels * groups <= 48
    )
  },
  cost(request, { pixels, groups, lanesN, lanesM, taps }) {
    const { n, oh, ow, o4, c4, kh, kw, stride, normalised } = convProblemOf(request)
    const strips = n * oh * Math.ceil(ow / pixels)
    // One text for all convolutions is worth more than the strip that fits each best.
    const texts = broadcastsConv(request) ? 4 : 1
    return (
      texts *
      estimate(request.capabilities.kind, {
        workgroups: Math.ceil(strips / lanesM) * Math.ceil(o4 / (groups * lanesN)),
        invocations: lanesN * lanesM,
        steps: kh * c4,
        loads: (taps === 'looped' ? kw * pixels : (pixels - 1) * stride + kw) * (normalised ? 4 : 1) + 4 * kw * groups,
        products: 4 * kw * pixels * groups,
        staged: false,
      })
    )
  },
  prepare: (request, _params, index) => prepareConv(request, index),
  emit: emitDirect,
  // As for products: sums of up to 9 · 2560 terms in f32, in practice about √k eps; f16 storage rounds operands and result.
  tolerance: { f32: 32, f16: 2 },
}

/** A column of the input: where it lies, `p`, and whether it lies inside, `in`, where that is open. */
function columnText(
  problem: ConvProblem,
  name: string,
  column: string,
  mayBeOutside: boolean,
  stride4: number,
): string[] {
  const { w } = problem
  if (!mayBeOutside) return [`let p${name} = ${storedIndex(problem, `u32(${column})`)} * ${size(stride4)};`]
  return [
    `let c${name} = ${column};`,
    `let in${name} = c${name} >= 0 && c${name} < i32(${size(w)});`,
    `let p${name} = ${storedIndex(problem, `u32(clamp(c${name}, 0, i32(${size(w - 1)})))`)} * ${size(stride4)};`,
  ]
}

function columnLoad({ normalised }: ConvProblem, name: string, mayBeOutside: boolean): string {
  const element = `at_x(line + p${name} + t)`
  const value = normalised ? `normalisedAt(image, t, ${element})` : element
  return `let a${name} = ${mayBeOutside ? `select(vec4<f32>(), ${value}, in${name})` : value};`
}

/** All multiply-adds of a line of taps: kx written out, columns loaded once. Before the loop over lines; in it. */
function writtenTaps(problem: ConvProblem, stride4: number, stripsX: number, { pixels, groups }: DirectConvParams) {
  const { w, c4, o4, kw, stride, left } = problem
  // Column j of a strip is input column x0 · stride + j − left: only some can lie outside, and which is known here.
  const columns = range((pixels - 1) * stride + kw)
  const lastX = (stripsX - 1) * pixels * stride
  const mayBeOutside = (j: number) => j < left || lastX + j - left >= w
  const products = range(kw).flatMap((kx) =>
    range(4).flatMap((j) => [
      `let k${kx}_${j} = tap + ${size((kx * c4 * 4 + j) * o4)};`,
      ...range(groups).flatMap((g) => [
        `let b${kx}_${j}_${g} = at_weight(k${kx}_${j} + h${g});`,
        ...range(pixels).map((i) => `s${i}_${g} += a${i * stride + kx}.${lane[j]} * b${kx}_${j}_${g};`),
      ]),
    ]),
  )
  return {
    before: columns.flatMap((j) => columnText(problem, `${j}`, `first + ${j}`, mayBeOutside(j), stride4)),
    line: `for (var t = 0u; t < ${size(c4)}; t++) {
      let tap = (ky * ${size(kw * c4 * 4)} + t * 4u) * ${size(o4)};
      ${[...columns.map((j) => columnLoad(problem, `${j}`, mayBeOutside(j))), ...products].join('\n      ')}
    }`,
  }
}

/** The same as a loop over kx: each tap loads its own columns. */
function loopedTaps(problem: ConvProblem, stride4: number, { pixels, groups }: DirectConvParams) {
  const { c4, o4, kw, stride } = problem
  const columns = range(pixels)
  const products = range(4).flatMap((j) =>
    range(groups).flatMap((g) => [
      `let b${j}_${g} = at_weight(tap + ${size(j * o4)} + h${g});`,
      ...columns.map((i) => `s${i}_${g} += a${i}.${lane[j]} * b${j}_${g};`),
    ]),
  )
  return {
    before: [],
    line: `for (var kx = 0u; kx < ${size(kw)}; kx++) {
      ${columns.flatMap((i) => columnText(problem, `${i}`, `first + ${i * stride} + i32(kx)`, true, stride4)).join('\n      ')}
      for (var t = 0u; t < ${size(c4)}; t++) {
        let tap = ((ky * ${size(kw)} + kx) * ${size(c4 * 4)} + t * 4u) * ${size(o4)};
        ${[...columns.map((i) => columnLoad(problem, `${i}`, true)), ...products].join('\n        ')}
      }
    }`,
  }
}

function emitDirect(request: Request<Conv2dAttrs>, params: DirectConvParams): Kernel {
  const { pixels, groups, lanesN, lanesM, taps } = params
  const problem = convProblemOf(request)
  const { n, h, storedH, storedW, oh, ow, o4, kh, stride, top, left } = problem
  const { stride4 } = request.inputs[0]!
  const stripsX = Math.ceil(ow / pixels)
  const strips = n * oh * stripsX
  const tilesN = Math.ceil(o4 / (groups * lanesN))
  const grid = splitGrid(tilesN * Math.ceil(strips / lanesM), request.capabilities.limits)
  const { io, text } = convText(request)
  const wholeN = o4 % (groups * lanesN) === 0
  const { before, line } =
    taps === 'written' ? writtenTaps(problem, stride4, stripsX, params) : loopedTaps(problem, stride4, params)
  const results = range(pixels).flatMap((i) => range(groups).map((g) => `s${i}_${g}`))
  const wgsl = `${io.enables}${io.text}
${text}
@compute @workgroup_size(${lanesN}, ${lanesM})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let tile = ${grid.index};
  let strip = tile / ${size(tilesN)} * ${lanesM}u + lid.y;
  if (strip >= ${size(strips)}) { return; }
  let g0 = tile % ${size(tilesN)} * ${groups * lanesN}u + lid.x;
  ${range(groups - 1)
    .map((g) => `let g${g + 1} = g0 + ${(g + 1) * lanesN}u;`)
    .join('\n  ')}
  ${range(groups)
    .map((g) => `let h${g} = ${wholeN ? `g${g}` : `min(g${g}, ${size(o4 - 1)})`};`)
    .join('\n  ')}
  let x0 = strip % ${size(stripsX)} * ${pixels}u;
  let oy = strip / ${size(stripsX)} % ${size(oh)};
  let image = strip / ${size(stripsX * oh)};
  let first = i32(x0 * ${stride}u) - ${left};
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  ${before.join('\n  ')}
  let firstY = i32(oy * ${stride}u) - ${top};
  let endY = u32(clamp(i32(${size(h)}) - firstY, 0, ${kh}));
  for (var ky = u32(max(-firstY, 0)); ky < endY; ky++) {
    let line = (image * ${size(storedH)} + ${storedIndex(problem, 'u32(firstY + i32(ky))')}) * ${size(storedW * stride4)};
    ${line}
  }
  let row = (image * ${size(oh)} + oy) * ${size(ow)} + x0;
  // The results take turns: copies of the epilogue would take longer to compile than all the rest.
  for (var i = 0u; i < ${size(pixels * groups)}; i++) {
    let x = i / ${groups}u;
    let group = g0 + i % ${groups}u * ${lanesN}u;
    if (x0 + x < ${size(ow)} && group < ${size(o4)}) { finish(row + x, group, ${results[0]}); }
    ${results
      .slice(1)
      .map((s, i) => `${results[i]} = ${s};`)
      .join(' ')}
  }
}
`
  return {
    dispatches: [{ label: 'conv2d direct', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
