// Convolution on matrix units: an implicit GEMM, row = output pixel, k = (ky, kx, c), column = output channel. A step of k lies
// within one tap, so a row's eight channels are 128 bits of one pixel, or zero outside the picture.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import {
  type MatrixParams,
  type MatrixProduct,
  matrixEnables,
  matrixFits,
  matrixMain,
  matrixTiles,
} from '../matmul/matrix-text.ts'
import { deviceHasMatrices, matrixCost, matrixSums, matrixTunings, operandsAreWide } from '../matmul/matrix-variant.ts'
import { partialBytes, sumSplits } from '../matmul/splits.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands, wideLoad } from '../wgsl/io.ts'
import { convNormText, isSummed } from './norm.ts'
import { convFinishText, convNames, convProblemOf, prepareConv, storedIndex } from './problem.ts'

function productSizes(request: Request<Conv2dAttrs>) {
  const { n, oh, ow, o, kh, kw, c } = convProblemOf(request)
  return { m: n * oh * ow, n: o, k: kh * kw * c, halves: 1 } as const
}

export const subgroupMatrixConv: Variant<Conv2dAttrs, MatrixParams> = {
  name: 'subgroup-matrix',
  tunings: { software: [], gpu: matrixTunings },
  supports(request, params) {
    return (
      deviceHasMatrices(request.capabilities) &&
      operandsAreWide(request) &&
      bindable(request, params.splits > 1 ? 1 : 0) &&
      convProblemOf(request).c % params.tileK === 0 &&
      matrixFits(params, productSizes(request), request.capabilities.limits)
    )
  },
  cost: (request, params) => matrixCost(params, productSizes(request)),
  prepare: (request, _params, index) => prepareConv(request, index),
  emit,
  // As for products on matrix units.
  tolerance: { f32: 32, f16: 2 },
}

/** Eight channels as they are stored, normalised. */
const normalisedUnits = `fn normalisedHalves(image: u32, group: u32, x: vec2<u32>) -> vec2<u32> {
  let v = normalisedAt(image, group, vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y)));
  return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}
fn normalisedUnits(image: u32, group: u32, x: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(normalisedHalves(image, group, x.xy), normalisedHalves(image, group + 1u, x.zw));
}
`

function emit(request: Request<Conv2dAttrs>, params: MatrixParams): Kernel {
  const problem = convProblemOf(request)
  const { h, w, storedH, storedW, c, oh, ow, o4, kw, stride, top, left, normalised } = problem
  const sizes = productSizes(request)
  const split = params.splits > 1
  const grid = splitGrid(matrixTiles(params, sizes).workgroups, request.capabilities.limits)
  const x = request.inputs[0]!
  const tap = `(t * ${params.tileK}u / ${c}u)`
  const product: MatrixProduct = {
    ...sizes,
    grid,
    rowSetup: (i) => `let image${i} = row${i} / ${oh * ow}u * ${storedH * storedW}u;
let y${i} = i32(row${i} / ${ow}u % ${oh}u * ${stride}u) - ${top};
let x${i} = i32(row${i} % ${ow}u * ${stride}u) - ${left};`,
    loadA: (i, column) =>
      `patchUnits(image${i}, y${i} + i32(${tap} / ${kw}u), x${i} + i32(${tap} % ${kw}u), t * ${params.tileK}u % ${c}u / 8u + ${column})`,
    loadB: (row, _half, unit) => wideLoad('weight', request.inputs[1]!, `(${row}) * ${o4 / 2}u + ${unit}`),
  }
  const patch = `fn patchUnits(image: u32, y: i32, x: i32, unit: u32) -> vec4<u32> {
  var value = vec4<u32>();
  if (y >= 0 && y < ${h} && x >= 0 && x < ${w}) {
    value = buffer_x[${x.offset4 / 2}u + (image + ${storedIndex(problem, 'u32(y)')} * ${storedW}u + ${storedIndex(problem, 'u32(x)')}) * ${x.stride4 / 2}u + unit];${
      normalised
        ? `
    value = normalisedUnits(image / ${storedH * storedW}u, unit * 2u, value);`
        : ''
    }
  }
  return value;
}`
  const names = convNames(request)
  const operands = requestOperands(request, names).map((o) =>
    o.name === 'x' || o.name === 'weight' ? { ...o, wide: true } : o,
  )
  const used = split ? operands.filter(isSummed) : operands
  const io = ioText(used, split ? [{ name: 'partial_', index: 0, element: 'f32' }] : [])
  const wgsl = `enable f16;\n${matrixEnables}${io.text}
${convNormText(request)}${normalised ? normalisedUnits : ''}${patch}
${split ? '' : convFinishText(request)}
${matrixMain(params, product)}`
  const first = { label: 'conv2d subgroup-matrix', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
  if (!split) return { dispatches: [first], scratch: [] }
  const sums = matrixSums(params, sizes)
  return {
    dispatches: [first, sumSplits(request, names, convFinishText(request), sums)],
    scratch: [partialBytes(sums)],
  }
}
