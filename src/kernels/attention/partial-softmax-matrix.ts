// Partially fused softmax on matrix units: see partial-softmax-problem.ts. Both products are the loop nest of `matmul` on matrix
// units (f16 factors, f32 sums): keys are transposed once, so that it finds eight of them in 128 bits; logits are f32 in memory,
// weights 2^(x − m) become f16 while they are loaded, and the division by s waits for the sums, since weights below 2^-14 would
// lose digits in f16. All heads are rows of one product: a tile's rows belong to one head.
// Wins for heads too wide for the flash kernel (512 in the VAE: two products at full rate).
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Dispatch, Kernel, Operand, Request, Variant } from '../family.ts'
import {
  type MatrixParams,
  type MatrixProduct,
  matrixEnables,
  matrixFits,
  matrixMain,
  matrixTiles,
} from '../matmul/matrix-text.ts'
import { deviceHasMatrices, matrixCost, matrixTunings } from '../matmul/matrix-variant.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import {
  bindsAll,
  blockScratch,
  blockwise,
  keepText,
  type Logits,
  logitScratch,
  logitScratchBytes,
  logitsOf,
  rowText,
  statisticScratch,
  statisticsDispatch,
} from './partial-softmax-problem.ts'
import { queryScale } from './problem.ts'

interface Params {
  readonly logits: MatrixParams
  readonly values: MatrixParams
  /** Most bytes of logits at a time. */
  readonly logitBytes: number
}

/** Channels that transposed keys are padded to with zeros, and keys that rows of logits are padded to: steps of k of both. */
const step = 32

/** [batch][channels padded][keys padded / 8]: halves, eight keys a vec4<u32>. */
const transposedScratch: NamedScratch = { name: 'transposed', index: 3, element: 'vec4<u32>' }

interface Problem extends Logits {
  /** Channels of a head, padded. */
  readonly depth: number
}

function problemOf(request: Request<AttentionAttrs>, { logits, values, logitBytes }: Params): Problem {
  const rowsStep = Math.max(logits.tileM, values.tileM) // powers of two: one divides the other
  const cut = logitsOf(request, { logitBytes, rowsStep, keysStep4: step / 4 })
  return { ...cut, depth: Math.ceil(cut.width / step) * step }
}

const logitSizes = ({ batches, blockRows, keys4, depth }: Problem) =>
  ({ m: batches * blockRows, n: keys4 * 4, k: depth, halves: 1 }) as const
const valueSizes = ({ batches, blockRows, keys4, width }: Problem) =>
  ({ m: batches * blockRows, n: width, k: keys4 * 4, halves: 1 }) as const

/** Where a row of an operand begins, in units of eight channels: the row of a picture, at a head. */
function unitsOf({ offset4, stride4 }: Operand, { n, heads, width }: Problem, batch: string) {
  const image = n === 1 ? '0u' : `${batch} / ${u32Text(heads)}`
  const head = heads === 1 ? '0u' : n === 1 ? batch : `${batch} % ${u32Text(heads)}`
  return (rows: number, row: string) =>
    `${offset4 / 2}u + (${image} * ${u32Text(rows)} + ${row}) * ${stride4 / 2}u + ${head} * ${width / 8}u`
}

/** An invocation turns eight keys × eight channels; zero beyond the last of either. */
function transposeDispatch(request: Request<AttentionAttrs>, problem: Problem): Dispatch {
  const { batches, keys, keys4, width, depth } = problem
  const lanes = 64
  const operands = requestOperands(request, ['q', 'k', 'v']).filter(({ name }) => name === 'k')
  const io = ioText(
    operands.map((each) => ({ ...each, wide: true })),
    [transposedScratch],
  )
  const [keyUnits, units] = [keys4 / 2, depth / 8]
  const count = batches * units * keyUnits
  const grid = splitGrid(Math.ceil(count / lanes), request.capabilities.limits)
  const start = unitsOf(request.inputs[1]!, problem, 'batch')
  const rows = [0, 1, 2, 3, 4, 5, 6, 7]
  const load = (r: number) => {
    const key = `key * 8u + ${r}u`
    const value = `${io.variable.k}[${start(keys, `min(${key}, ${u32Text(keys - 1)})`)} + min(unit, ${width / 8 - 1}u)]`
    return `let r${r} = select(vec4<u32>(), ${value}, ${key} < ${u32Text(keys)} && unit < ${width / 8}u);`
  }
  const half = (r: number, c: number) =>
    c % 2 === 0 ? `(r${r}[${c / 2}] & 0xffffu)` : `(r${r}[${(c - 1) / 2}] >> 16u)`
  const word = (c: number, j: number) => `${half(2 * j, c)} | (${half(2 * j + 1, c)} << 16u)`
  const wgsl = `${io.enables}${io.text}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let i = ${grid.index} * ${lanes}u + li;
  if (i >= ${u32Text(count)}) { return; }
  let key = i % ${keyUnits}u;
  let unit = i / ${keyUnits}u % ${units}u;
  let batch = i / ${keyUnits * units}u;
  ${rows.map(load).join('\n  ')}
  let place = (batch * ${depth}u + unit * 8u) * ${keyUnits}u + key;
  ${rows.map((c) => `transposed[place + ${c * keyUnits}u] = vec4<u32>(${[0, 1, 2, 3].map((j) => word(c, j)).join(', ')});`).join('\n  ')}
}
`
  return { label: 'attention.transpose', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function logitsDispatch(request: Request<AttentionAttrs>, params: Params, problem: Problem): Dispatch {
  const { blockRows, queries, keys4, width, depth } = problem
  const sizes = logitSizes(problem)
  const grid = splitGrid(matrixTiles(params.logits, sizes).workgroups, request.capabilities.limits)
  const operands = requestOperands(request, ['q', 'k', 'v']).filter(({ name }) => name === 'q')
  const io = ioText(
    operands.map((each) => ({ ...each, wide: true })),
    [transposedScratch, logitScratch, ...blockScratch(problem)],
  )
  const perStep = params.logits.tileK / 8
  const product: MatrixProduct = {
    ...sizes,
    grid,
    rowSetup: (i) => `let batch${i} = row${i} / ${u32Text(blockRows)};
let query${i} = min(firstQuery() + row${i} % ${u32Text(blockRows)}, ${u32Text(queries - 1)});
let start${i} = ${unitsOf(request.inputs[0]!, problem, `batch${i}`)(queries, `query${i}`)};`,
    loadA: (i, column) => `queryUnit(start${i}, t * ${perStep}u + ${column})`,
    loadB: (k, _half, unit) =>
      `transposed[(m0 / ${u32Text(blockRows)} * ${u32Text(depth)} + ${k}) * ${keys4 / 2}u + ${unit}]`,
  }
  const value = `${io.variable.q}[start + ${depth === width ? 'unit' : `min(unit, ${width / 8 - 1}u)`}]`
  const wgsl = `enable f16;\n${matrixEnables}${io.text}
${rowText(problem)}
fn queryUnit(start: u32, unit: u32) -> vec4<u32> {
  return ${depth === width ? value : `select(vec4<u32>(), ${value}, unit < ${width / 8}u)`};
}
${keepText(problem)}
fn finish(row: u32, group: u32, v: vec4<f32>) { keep(row, group, v * ${f32Text(queryScale(request.attrs.scale))}); }
${matrixMain(params.logits, product)}`
  return { label: 'attention.logits', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function valuesDispatch(request: Request<AttentionAttrs>, params: Params, problem: Problem): Dispatch {
  const { n, heads, blockRows, queries, keys, keys4, width } = problem
  const sizes = valueSizes(problem)
  const grid = splitGrid(matrixTiles(params.values, sizes).workgroups, request.capabilities.limits)
  const operands = requestOperands(request, ['q', 'k', 'v'])
    .filter(({ name, role }) => name === 'v' || role.kind !== 'input')
    .map((each) => (each.name === 'v' ? { ...each, wide: true } : each))
  const io = ioText(operands, [logitScratch, statisticScratch, ...blockScratch(problem)])
  const batch = `(m0 / ${u32Text(blockRows)})`
  const values = unitsOf(request.inputs[2]!, problem, batch)
  const product: MatrixProduct = {
    ...sizes,
    grid,
    rowSetup: (i) => `let start${i} = row${i} * ${u32Text(keys4)};
let most${i} = statistics[row${i} * 2u];`,
    loadA: (i, column) => `weightUnit(start${i} + t * ${params.values.tileK / 4}u + ${column} * 2u, most${i})`,
    // Keys beyond the last have no weight.
    loadB: (k, _half, unit) =>
      `${io.variable.v}[${values(keys, keys === keys4 * 4 ? k : `min(${k}, ${u32Text(keys - 1)})`)} + ${unit}]`,
  }
  const rows = u32Text(blockRows)
  const image = n === 1 ? '0u' : `row / ${u32Text(heads * blockRows)}`
  const head = heads === 1 ? '0u' : `row / ${rows} % ${u32Text(heads)}`
  const wgsl = `enable f16;\n${matrixEnables}${io.text}
${rowText(problem)}
fn weightUnit(at: u32, most: f32) -> vec4<u32> {
  let a = exp2(logits[at] - most);
  let b = exp2(logits[at + 1u] - most);
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
${epilogueText(request)}
fn finish(row: u32, group: u32, v: vec4<f32>) {
  let query = firstQuery() + row % ${rows};
  if (query >= ${u32Text(queries)}) { return; }
  let place = ${image} * ${u32Text(queries)} + query;
  let channels = ${head} * ${width / 4}u + group;
  store_y(place, channels, epilogue(place, channels, v * statistics[row * 2u + 1u]));
}
${matrixMain(params.values, product)}`
  return { label: 'attention.values', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function scratchBytes(problem: Problem): readonly number[] {
  const { batches, depth, keys4 } = problem
  return [...logitScratchBytes(problem), batches * depth * keys4 * 8]
}

function emit(request: Request<AttentionAttrs>, params: Params): Kernel {
  const problem = problemOf(request, params)
  const block = [
    logitsDispatch(request, params, problem),
    statisticsDispatch(request, problem, 128),
    valuesDispatch(request, params, problem),
  ]
  return {
    dispatches: blockwise(problem, [transposeDispatch(request, problem)], block),
    scratch: scratchBytes(problem),
  }
}

const mebibyte = 2 ** 20
/** `subgroup-matrix` takes 0.5 to 0.7 of its estimates on an H100, and these kernels are to stand back where it can run. */
const caution = 1.8
const whole = matrixTunings.filter(({ splits, tileK }) => splits === 1 && tileK === step)
const forLogits = whole.filter(({ tileN }) => tileN === 128 || tileN === 64)
const tunings: readonly Params[] = [32 * mebibyte, 4 * mebibyte].flatMap((logitBytes) =>
  forLogits.flatMap((logits) => whole.map((values) => ({ logits, values, logitBytes }))),
)

export const partialSoftmaxMatrixAttention: Variant<AttentionAttrs, Params> = {
  name: 'partial-softmax-matrix',
  tunings: { software: [], gpu: tunings },
  supports(request, params) {
    const { capabilities, inputs, output } = request
    const { limits } = capabilities
    const { width } = logitsOf(request, { logitBytes: 0, rowsStep: 1, keysStep4: 1 })
    const wide = inputs.every(
      ({ storage, stride4, offset4, slot }) =>
        storage === 'f16' && stride4 % 2 === 0 && offset4 % 2 === 0 && slot !== output.slot,
    )
    if (!deviceHasMatrices(capabilities) || !capabilities.subgroups || !bindsAll(request)) return false
    if (!wide || width % 8 !== 0) return false
    const problem = problemOf(request, params)
    return (
      matrixFits(params.logits, logitSizes(problem), limits) &&
      matrixFits(params.values, valueSizes(problem), limits) &&
      // Tiles of many rows may need more for their least block.
      logitScratchBytes(problem)[0] <= params.logitBytes &&
      scratchBytes(problem).every((bytes) => bytes <= limits.maxStorageBufferBindingSize)
    )
  },
  cost(request, params) {
    const problem = problemOf(request, params)
    const { batches, blockRows, blocks, keys4, width } = problem
    const products =
      matrixCost(params.logits, logitSizes(problem)) + 1.15 * matrixCost(params.values, valueSizes(problem))
    // Logits are written once and read by the statistics and by every tile of columns; mostly from the last-level cache.
    const columns = Math.ceil(width / params.values.tileN)
    const moved = batches * blockRows * keys4 * 16 * (2 + columns)
    return caution * (8000 + blocks * (products + 6000 + moved / 3000))
  },
  scratch: (request, params) => scratchBytes(problemOf(request, params)),
  // Logits are written, and read for the statistics and for the product.
  bytes(request, params) {
    const problem = problemOf(request, params)
    return problem.blocks * logitScratchBytes(problem)[0] * 3
  },
  emit,
  // Weights are rounded to f16 as in `subgroup-matrix`, for the same bounds.
  tolerance: { f32: 2 ** 13, f16: 2 },
}
