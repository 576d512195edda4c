// Convolution as a product through workgroup memory, for GPUs: row = output pixel, k = (ky, kx, c), column = output channel. The
// matrix of patches exists only as tiles (implicit GEMM; loop nest: matmul/tiled-text.ts). On CPU adapters `direct` wins.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { estimate } from '../matmul/cost.ts'
import { type TiledParams, tileCounts, tiledMain, tiledTunings, tiledWork, tileFits } from '../matmul/tiled-text.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable } from '../wgsl/io.ts'
import { type ConvProblem, convProblemOf, convText, prepareConv, productOf } from './problem.ts'

export const tiledConv: Variant<Conv2dAttrs, TiledParams> = {
  name: 'tiled',
  tunings: tiledTunings,
  supports: (request, params) =>
    bindable(request) && request.inputs[1]!.space === 'weight' && tileFits(params, 1, request.capabilities.limits),
  cost: (request, params) => estimate(request.capabilities.kind, tiledWork(params, productOf(convProblemOf(request)))),
  prepare: (request, _params, index) => prepareConv(request, index),
  emit: emitTiled,
  // As for products of the same length.
  tolerance: { f32: 32, f16: 2 },
}

/** Four channels of the patch of output pixel `row`: zero outside the image. */
function patchText({ h, w, oh, ow, kw, c4, stride, top, left }: ConvProblem, stride4: number): string {
  return `fn tileA(batch: u32, row: u32, kg: u32) -> vec4<f32> {
  let tap = kg / ${c4}u;
  let iy = i32(row / ${ow}u % ${oh}u * ${stride}u + tap / ${kw}u) - ${top};
  let ix = i32(row % ${ow}u * ${stride}u + tap % ${kw}u) - ${left};
  let inside = iy >= 0 && iy < ${h} && ix >= 0 && ix < ${w};
  let line = row / ${oh * ow}u * ${h}u + u32(clamp(iy, 0, ${h - 1}));
  let pixel = line * ${w}u + u32(clamp(ix, 0, ${w - 1}));
  return select(vec4<f32>(), at_x(pixel * ${stride4}u + kg % ${c4}u), inside);
}`
}

/** The loads of a convolution as a product: `tileA` reads patches, `tileB` packed weights. */
export function convLoads(problem: ConvProblem, request: Request<Conv2dAttrs>): string {
  return `${patchText(problem, request.inputs[0]!.stride4)}
fn tileB(batch: u32, half: u32, k: u32, group: u32) -> vec4<f32> { return at_weight(k * ${problem.o4}u + group); }`
}

function emitTiled(request: Request<Conv2dAttrs>, params: TiledParams): Kernel {
  const problem = convProblemOf(request)
  const product = productOf(problem)
  const grid = splitGrid(tileCounts(params, product).workgroups, request.capabilities.limits)
  const { io, text } = convText(request)
  const wgsl = `${io.enables}${io.text}
${text}
${tiledMain(params, { ...product, grid, loads: convLoads(problem, request) })}`
  return {
    dispatches: [{ label: 'conv2d tiled', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
