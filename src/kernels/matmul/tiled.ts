// The product through workgroup memory (loop nest: tiled-text.ts), for GPUs: each value of a and b is read from memory once a
// tile. On CPU adapters its barriers cost ten times the compile time and gain nothing. Does not take a transposed a.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Operand, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, elementType, type Io, ioText, requestOperands, stagedStorage } from '../wgsl/io.ts'
import { estimate, sumNs } from './cost.ts'
import { isSummed, matmulNames } from './norm.ts'
import { prepareMatmul } from './pack.ts'
import { finishText, type Problem, problemOf, supportedAtAll } from './problem.ts'
import { keepText, partialBytes, partialScratch, plainSums, sumSplits } from './splits.ts'
import { type SplitParams, splitTunings, tileCounts, tiledMain, tiledWork, tileFits } from './tiled-text.ts'

const sumsOf = ({ batches, m, n4, halves }: Problem, { splits }: SplitParams) =>
  plainSums({ splits, rows: batches * m, n4, halves })

export const tiledMatmul: Variant<MatmulAttrs, SplitParams> = {
  name: 'tiled',
  tunings: splitTunings,
  supports: (request, params) =>
    supportedAtAll(request) &&
    bindable(request, params.splits > 1 ? 1 : 0) &&
    !request.attrs.transposeA &&
    tileFits(params, problemOf(request), request.capabilities.limits, params.splits),
  cost(request, params) {
    const problem = problemOf(request)
    const product = estimate(request.capabilities.kind, tiledWork(params, problem, params.splits))
    return product + sumNs(params.splits, partialBytes(sumsOf(problem, params)))
  },
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit,
  // The sums of `direct`, in the same order but for splits.
  tolerance: { f32: 32, f16: 2 },
}

/** `tileA` and `tileB` of a product, for every form of b, as elements of their storage. */
function productLoads(problem: Problem, request: Request<MatmulAttrs>, variable: Io['variable']): string {
  const { m, n, n4, k, b, halves, batches, bBatched } = problem
  const [left, right] = request.inputs as [Operand, Operand]
  const aRow = batches > 1 ? `(batch * ${m}u + row)` : 'row'
  const bRow = (row: string, rows: number) => (bBatched ? `(batch * ${rows}u + ${row})` : row)
  const at = (name: string, { offset4 }: Operand, place: string) =>
    `${variable[name]}[${offset4 === 0 ? '' : `${offset4}u + `}${place}]`
  const b4 = {
    packed: `k * ${halves * n4}u + half * ${n4}u + group`,
    kn: `${bRow(k % 4 === 0 ? 'k' : `min(k, ${k - 1}u)`, k)} * ${right.stride4}u + half * ${n4}u + group`,
    nk: `(${bRow(`min(column, ${n - 1}u)${halves === 2 ? ` + half * ${n}u` : ''}`, halves * n)}) * ${right.stride4}u + kg`,
  }
  const quantised = stagedStorage(right) !== right.storage
  const places = b === 'nk' ? 'column: u32, kg: u32' : 'k: u32, group: u32'
  return `fn tileA(batch: u32, row: u32, kg: u32) -> ${elementType[left.storage]} {
  return ${at('a', left, `${aRow} * ${left.stride4}u + kg`)};
}
fn tileB(batch: u32, half: u32, ${places}) -> ${elementType[stagedStorage(right)]} {
  return ${quantised ? `at_b(${b4[b]})` : at('b', right, b4[b])};
}`
}

function emit(request: Request<MatmulAttrs>, params: SplitParams): Kernel {
  const problem = problemOf(request)
  const { splits } = params
  const split = splits > 1
  const sums = sumsOf(problem, params)
  const grid = splitGrid(tileCounts(params, problem, splits).workgroups, request.capabilities.limits)
  const names = matmulNames(request)
  const operands = requestOperands(request, names)
  const io = split ? ioText(operands.filter(isSummed), [partialScratch]) : ioText(operands)
  const [a, b] = request.inputs as [Operand, Operand]
  const product = tiledMain(params, {
    ...problem,
    ...{ grid, splits, bRows: problem.b === 'nk', storage: { a: a.storage, b: stagedStorage(b) } },
    loads: productLoads(problem, request, io.variable),
    norm: request.attrs.normalised && {
      moments: (row) => `load_moments(${problem.batches > 1 ? `batch * ${problem.m}u + ` : ''}${row}, 0u)`,
      gamma: (kg) => `at_gamma(${kg})`,
      beta: (kg) => `at_beta(${kg})`,
    },
  })
  const wgsl = `${io.enables}${io.text}
${split ? keepText(sums) : finishText(request)}
${product}`
  const first = { label: 'matmul tiled', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
  if (!split) return { dispatches: [first], scratch: [] }
  return { dispatches: [first, sumSplits(request, names, finishText(request), sums)], scratch: [partialBytes(sums)] }
}
