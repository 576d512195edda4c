// The product on matrix units: f16 storage, f32 sums. For weights; loses where there are few rows, and needs a device whose
// matrix units WebGPU exposes (Dawn in Node; no stable browser yet).
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Operand, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands, wideLoad } from '../wgsl/io.ts'
import {
  type MatrixParams,
  type MatrixProduct,
  matrixEnables,
  matrixFits,
  matrixMain,
  matrixTiles,
} from './matrix-text.ts'
import { deviceHasMatrices, matrixCost, matrixSums, matrixTunings, operandsAreWide } from './matrix-variant.ts'
import { isSummed, matmulNames, normOf } from './norm.ts'
import { prepareMatmul } from './pack.ts'
import { finishText, problemOf, supportedAtAll } from './problem.ts'
import { partialBytes, sumSplits } from './splits.ts'

/** Whether gamma and beta can be loaded as a is: 128 bits at a time, the same eight channels for all rows of a thread. */
function normIsWide(request: Request<MatmulAttrs>, { tileK }: MatrixParams): boolean {
  const norm = normOf(request)
  const wide = ({ storage, offset4 }: Operand) => storage === 'f16' && offset4 % 2 === 0
  return !norm || (wide(norm.gamma) && wide(norm.beta) && 256 % tileK === 0)
}

/** Bound as array<vec4<u32>>. */
const wideNames: ReadonlySet<string> = new Set(['a', 'b', 'gamma', 'beta'])

export const subgroupMatrixMatmul: Variant<MatmulAttrs, MatrixParams> = {
  name: 'subgroup-matrix',
  tunings: { software: [], gpu: matrixTunings },
  supports(request, params) {
    const problem = problemOf(request)
    return (
      deviceHasMatrices(request.capabilities) &&
      operandsAreWide(request) &&
      normIsWide(request, params) &&
      supportedAtAll(request) &&
      bindable(request, params.splits > 1 ? 1 : 0) &&
      !request.attrs.transposeA &&
      problem.batches === 1 &&
      problem.b === 'packed' &&
      matrixFits(params, problem, request.capabilities.limits)
    )
  },
  cost: (request, params) => matrixCost(params, problemOf(request)),
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit,
  // f16 operands are exact in the products, sums are f32 but in the units' own order.
  tolerance: { f32: 32, f16: 2 },
}

function emit(request: Request<MatmulAttrs>, params: MatrixParams): Kernel {
  const problem = problemOf(request)
  const { m, n, k, n4, halves } = problem
  const split = params.splits > 1
  const grid = splitGrid(matrixTiles(params, problem).workgroups, request.capabilities.limits)
  const a = request.inputs[0]!
  const names = matmulNames(request)
  const norm = normOf(request)
  const channels = (name: string, { offset4 }: Operand, column: string) =>
    `${io.variable[name]}[${offset4 / 2}u + t * ${params.tileK / 8}u + ${column}]`
  const rowLength = (halves * n4) / 2 // of b, in units of eight
  const product: MatrixProduct = {
    ...{ m, n, k, halves, grid },
    rowSetup: (i) => `let start${i} = ${a.offset4 / 2}u + row${i} * ${a.stride4 / 2}u;`,
    loadA: (i, column) => `buffer_a[start${i} + t * ${params.tileK / 8}u + ${column}]`,
    loadB: (row, half, unit) =>
      wideLoad(
        'b',
        request.inputs[1]!,
        `(${row}) * ${rowLength}u${halves === 2 ? ` + ${half} * ${n4 / 2}u` : ''} + ${unit}`,
      ),
    norm: norm && {
      moments: (i) => `load_moments(row${i}, 0u)`,
      gamma: (column) => channels('gamma', norm.gamma, column),
      beta: (column) => channels('beta', norm.beta, column),
    },
  }
  const operands = requestOperands(request, names).map((o) => (wideNames.has(o.name) ? { ...o, wide: true } : o))
  const used = split ? operands.filter(isSummed) : operands
  const io = ioText(used, split ? [{ name: 'partial_', index: 0, element: 'f32' }] : [])
  const wgsl = `enable f16;\n${matrixEnables}${io.text}
${split ? '' : finishText(request)}
${matrixMain(params, product)}`
  const first = { label: 'matmul subgroup-matrix', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
  if (!split) return { dispatches: [first], scratch: [] }
  const sums = matrixSums(params, problem)
  return {
    dispatches: [first, sumSplits(request, names, finishText(request), sums)],
    scratch: [partialBytes(sums)],
  }
}
