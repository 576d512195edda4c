// Convolution as a product through workgroup memory, for GPUs: row = output pixel, k = (ky, kx, c), column = output channel. The
// matrix of patches exists only as tiles (implicit GEMM; loop nest: matmul/tiled-text.ts). On CPU adapters `direct` wins.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Operand, Request, Variant } from '../family.ts'
import { estimate, sumNs } from '../matmul/cost.ts'
import { keepText, partialBytes, partialScratch, plainSums, sumSplits } from '../matmul/splits.ts'
import {
  type FourRows,
  type SplitParams,
  splitTunings,
  tileCounts,
  tiledMain,
  tiledWork,
  tileFits,
} from '../matmul/tiled-text.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { asF32, asStored, bindable, elementType, type Io, ioText, requestOperands, stagedStorage } from '../wgsl/io.ts'
import { convNormText, isSummed } from './norm.ts'
import {
  type ConvProblem,
  convFinishText,
  convNames,
  convProblemOf,
  prepareConv,
  productOf,
  storedIndex,
} from './problem.ts'

function sumsOf(problem: ConvProblem, { splits }: SplitParams) {
  const { m, n4, halves } = productOf(problem)
  return plainSums({ splits, rows: m, n4, halves })
}

export const tiledConv: Variant<Conv2dAttrs, SplitParams> = {
  name: 'tiled',
  tunings: splitTunings,
  supports: (request, params) =>
    bindable(request, params.splits > 1 ? 1 : 0) &&
    request.inputs[1]!.space === 'weight' &&
    tileFits(params, productOf(convProblemOf(request)), request.capabilities.limits, params.splits),
  cost(request, params) {
    const problem = convProblemOf(request)
    const product = estimate(request.capabilities.kind, tiledWork(params, productOf(problem), params.splits))
    return product + sumNs(params.splits, partialBytes(sumsOf(problem, params)))
  },
  prepare: (request, _params, index) => prepareConv(request, index),
  emit,
  // As for products of the same length.
  tolerance: { f32: 32, f16: 2 },
}

/** The loads of a convolution as a product, as elements of their storage: patches, zero outside the image, and packed weights. */
function convLoads(problem: ConvProblem, request: Request<Conv2dAttrs>, variable: Io['variable']): string {
  const { h, w, storedH, storedW, oh, ow, o4, kw, c4, stride, top, left, normalised } = problem
  const [x, weight] = request.inputs as [Operand, Operand]
  const element = elementType[x.storage]
  const quantised = stagedStorage(weight) !== weight.storage
  const place = `k * ${o4}u + group`
  const normal = `normalisedAt(image / ${storedH * storedW}u, channels, ${asF32(x.storage, 'value')})`
  return `fn pixelAt(image: u32, y: i32, x: i32, channels: u32) -> ${element} {
  let inside = (u32(y) < ${h}u) & (u32(x) < ${w}u); // below 0 is far above, and no branch is taken
  let place = (image + ${storedIndex(problem, 'u32(y)')} * ${storedW}u + ${storedIndex(problem, 'u32(x)')}) * ${x.stride4}u + channels;
  let value = ${variable.x}[${x.offset4}u + select(0u, place, inside)];
  return select(${element}(), ${normalised ? asStored(x.storage, normal) : 'value'}, inside);
}
fn tileA(batch: u32, row: u32, kg: u32) -> ${element} {
  let tap = kg / ${c4}u;
  let y = i32(row / ${ow}u % ${oh}u * ${stride}u + tap / ${kw}u) - ${top};
  let x = i32(row % ${ow}u * ${stride}u + tap % ${kw}u) - ${left};
  return pixelAt(row / ${oh * ow}u * ${storedH * storedW}u, y, x, kg % ${c4}u);
}
fn tileB(batch: u32, half: u32, k: u32, group: u32) -> ${elementType[stagedStorage(weight)]} {
  return ${quantised ? `at_weight(${place})` : `${variable.weight}[${weight.offset4}u + ${place}]`};
}`
}

/** `tileA` where four rows are pixels of one line. Where a step of k lies within one tap, all invocations share the tap. */
function pixelsOfLine(problem: ConvProblem, { tileK }: SplitParams): FourRows {
  const { storedH, storedW, oh, ow, kw, c4, stride, top, left } = problem
  return {
    setup: (i, group) => `let line${i} = ${group} / ${ow / 4}u;
  let image${i} = line${i} / ${oh}u * ${storedH * storedW}u;
  let y${i} = i32(line${i} % ${oh}u * ${stride}u) - ${top};
  let x${i} = i32(${group} % ${ow / 4}u * ${4 * stride}u) - ${left};`,
    load(i, c, { kg, t, column }) {
      const [tap, channels] =
        (c4 * 4) % tileK === 0
          ? [`${t} * ${tileK / 4}u / ${c4}u`, `${t} * ${tileK / 4}u % ${c4}u + ${column}`]
          : [`(${kg}) / ${c4}u`, `(${kg}) % ${c4}u`]
      return `pixelAt(image${i}, y${i} + i32(${tap} / ${kw}u), x${i} + ${c * stride} + i32(${tap} % ${kw}u), ${channels})`
    },
  }
}

function emit(request: Request<Conv2dAttrs>, params: SplitParams): Kernel {
  const problem = convProblemOf(request)
  const { splits } = params
  const split = splits > 1
  const sums = sumsOf(problem, params)
  const sizes = productOf(problem)
  const grid = splitGrid(tileCounts(params, sizes, splits).workgroups, request.capabilities.limits)
  const names = convNames(request)
  const operands = requestOperands(request, names)
  const io = split ? ioText(operands.filter(isSummed), [partialScratch]) : ioText(operands)
  const [x, weight] = request.inputs as [Operand, Operand]
  const product = tiledMain(params, {
    ...sizes,
    ...{ grid, splits, storage: { a: x.storage, b: stagedStorage(weight) } },
    loads: convLoads(problem, request, io.variable),
    ...(problem.ow % 4 === 0 && { fours: pixelsOfLine(problem, params) }),
  })
  const wgsl = `${io.enables}${io.text}
${convNormText(request)}${split ? keepText(sums) : convFinishText(request)}
${product}`
  const first = { label: 'conv2d tiled', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
  if (!split) return { dispatches: [first], scratch: [] }
  return {
    dispatches: [first, sumSplits(request, names, convFinishText(request), sums)],
    scratch: [partialBytes(sums)],
  }
}
