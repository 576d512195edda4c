// The loop nest of a product on matrix units (subgroup matrices), shared by `matmul` and `conv2d`: what a is, is left to text.
//   for each tile of tileM × tileN results, one a workgroup; for each split of k:
//     fetch the first a tile (tileM × tileK) and b tile (tileK × tileN) into registers, 128 bits a load
//     for k in steps of tileK:
//       registers → workgroup memory; barrier; fetch the next tiles into registers while the units multiply:
//       each subgroup: subM × subN results in 16×16 fragments, f16 products, f32 sums
//     one split: fragments → workgroup memory → bias, gate, epilogue, store; more: fragments → scratch, summed by a second pass
// Rows of workgroup memory are padded by 16 bytes against bank conflicts. Parameters: measured on an H100 (bench/gpu).
import type { Limits } from '../family.ts'
import type { Grid } from '../wgsl/grid.ts'

export interface MatrixParams {
  readonly tileM: number
  readonly tileN: number
  /** Length of k staged at a time: a multiple of 16. */
  readonly tileK: number
  /** Results of a subgroup: multiples of 16. */
  readonly subM: number
  readonly subN: number
  /** How many workgroups share the k of one tile. */
  readonly splits: number
  /** TFLOP/s that the tile reached on an H100 with all multiprocessors busy. */
  readonly rate: number
}

export interface MatrixNorm {
  moments(i: number): string
  gamma(column: string): string
  beta(column: string): string
}

export interface MatrixProduct {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly halves: 1 | 2
  readonly grid: Grid
  /** Declarations for the row of a's unit i of 8 channels, given `let row${i}` (below m); run once. */
  rowSetup(i: number): string
  /** Expression (vec4<u32>) of eight channels of that row at k = t · tileK + 8 · `column`. */
  loadA(i: number, column: string): string
  /**
   * What `loadA` gives is normalised on its way into workgroup memory: expressions of the mean and scale (x and y) of row i, and,
   * as halves (vec4<u32>), of gamma and beta of the eight channels at k = t · tileK + 8 · `column`.
   */
  readonly norm?: MatrixNorm | undefined
  /** Expression (vec4<u32>) of the eight columns from unit `unit` (in units of 8 columns of a half) of row `k` of b. */
  loadB(k: string, half: string, unit: string): string
}

const pad = 8
const subgroup = 32

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lines = (n: number, line: (i: number) => string) => range(n).map(line).join('\n')

export function threadsOf({ tileM, tileN, subM, subN }: MatrixParams): number {
  return (tileM / subM) * (tileN / subN) * subgroup
}

/** Results of a tile along n: with a gate, half of its columns are gates. */
export function tileColumns({ tileN }: MatrixParams, halves: 1 | 2): number {
  return tileN / halves
}

export function matrixTiles(params: MatrixParams, { m, n, halves }: Pick<MatrixProduct, 'm' | 'n' | 'halves'>) {
  const tilesM = Math.ceil(m / params.tileM)
  const tilesN = Math.ceil(n / tileColumns(params, halves))
  return { tilesM, tilesN, workgroups: tilesM * tilesN * params.splits }
}

const workgroupMemory = 48 * 1024

function stagedBytes({ tileM, tileN, tileK }: MatrixParams): number {
  return (tileM * (tileK + pad) + tileK * (tileN + pad)) * 2
}

/** Bytes of the results that pass through workgroup memory at a time, in `parts` of a subgroup's columns. */
function resultBytes(params: MatrixParams, parts: number): number {
  return (threadsOf(params) / subgroup) * 16 * (params.subN / parts + 4) * 4
}

/** In how many parts the results leave: large tiles have no room for all columns at once. */
function resultParts(params: MatrixParams): number {
  const fits = (parts: number) => stagedBytes(params) + resultBytes(params, parts) <= workgroupMemory
  return [1, 2, 4].find((parts) => (params.subN / 16) % parts === 0 && fits(parts)) ?? 1
}

export function workgroupBytes(params: MatrixParams): number {
  return stagedBytes(params) + (params.splits > 1 ? 0 : resultBytes(params, resultParts(params)))
}

/** Whether the tile fits the device and divides the problem. */
export function matrixFits(
  params: MatrixParams,
  { k, n, halves }: Pick<MatrixProduct, 'k' | 'n' | 'halves'>,
  limits: Limits,
): boolean {
  const { tileM, tileN, tileK, subN, splits } = params
  const threads = threadsOf(params)
  return (
    k % (tileK * splits) === 0 &&
    n % 8 === 0 &&
    (halves === 1 || (splits === 1 && subN % 32 === 0 && resultParts(params) === 1)) &&
    threads <= limits.maxComputeInvocationsPerWorkgroup &&
    (tileM * tileK) % (8 * threads) === 0 &&
    (tileK * tileN) % (8 * threads) === 0 &&
    workgroupBytes(params) <= limits.maxComputeWorkgroupStorageSize
  )
}

// Two multiply-adds, with −mean · scale as the row's second number: what cancels then is 2^-24 of the mean, far below the 2^-11 that
// the element has lost as a half.
const normalisedText = `fn normalised(x: vec2<u32>, row: vec2<f32>, gamma: vec2<u32>, beta: vec2<u32>) -> vec4<f16> {
  let scaled = vec4<f32>(bitcast<vec4<f16>>(x)) * row.x + row.y;
  return vec4<f16>(scaled * vec4<f32>(bitcast<vec4<f16>>(gamma)) + vec4<f32>(bitcast<vec4<f16>>(beta)));
}`

const normRow = (i: number, moments: string) => `let moments${i} = ${moments};
let norm${i} = vec2<f32>(moments${i}.y, -moments${i}.x * moments${i}.y);`

/** The entry point. Needs `finish` of the family's text (one split) or the scratch `partial: array<f32>` (more). */
export function matrixMain(params: MatrixParams, product: MatrixProduct): string {
  const { tileM, tileN, tileK, subM, subN, splits } = params
  const { m, n, k, halves, grid, norm } = product
  const { tilesM, tilesN, workgroups } = matrixTiles(params, product)
  const threads = threadsOf(params)
  const [strideA, strideB] = [(tileK + pad) / 4, (tileN + pad) / 4] // in vec4
  const [unitsA, unitsB] = [tileK / 8, tileN / 8] // of a row
  const [perA, perB] = [(tileM * tileK) / 8 / threads, (tileK * tileN) / 8 / threads]
  const [fragmentsM, fragmentsN] = [subM / 16, subN / 16]
  const subgroupsN = tileN / subN
  const columns = tileColumns(params, halves)
  const steps = k / tileK / splits

  // Column unit c of the tile as half and unit within that half: a subgroup's columns are its values, then their gates.
  const subUnits = subN / 8
  const half = (c: string) => (halves === 1 ? '0u' : `(${c} % ${subUnits}u) / ${subUnits / 2}u`)
  const unit = (c: string) =>
    halves === 1 ? `n0 / 8u + ${c}` : `n0 / 8u + ${c} / ${subUnits}u * ${subUnits / 2}u + ${c} % ${subUnits / 2}u`
  const lastUnit = n / 8 - 1
  const clamped = (text: string) => (n % columns === 0 ? text : `min(${text}, ${lastUnit}u)`)

  const eight = `li % ${unitsA}u` // a row's unit: the same for all of a thread's, since threads are a multiple of units
  const fetchNorm = norm ? `rGamma = ${norm.gamma(eight)};\nrBeta = ${norm.beta(eight)};\n` : ''
  const fetch = `${fetchNorm}${lines(perA, (i) => `ra${i} = ${product.loadA(i, `(li + ${i * threads}u) % ${unitsA}u`)};`)}
${lines(perB, (i) => {
  const c = `(li + ${i * threads}u) % ${unitsB}u`
  return `rb${i} = ${product.loadB(`t * ${tileK}u + (li + ${i * threads}u) / ${unitsB}u`, half(c), clamped(unit(c)))};`
})}`
  type AsHalves = (i: number, part: 'xy' | 'zw') => string
  const put = (to: string, from: AsHalves, i: number, units: number, stride: number) => `{
let at = (li + ${i * threads}u) / ${units}u * ${stride}u + (li + ${i * threads}u) % ${units}u * 2u;
${to}[at] = ${from(i, 'xy')};
${to}[at + 1u] = ${from(i, 'zw')};
}`
  const asHalves =
    (register: string): AsHalves =>
    (i, part) =>
      `bitcast<vec4<f16>>(${register}${i}.${part})`
  const normalised: AsHalves = (i, part) => `normalised(ra${i}.${part}, norm${i}, rGamma.${part}, rBeta.${part})`
  const stage = `${lines(perA, (i) => put('tileA', norm ? normalised : asHalves('ra'), i, unitsA, strideA))}
${lines(perB, (i) => put('tileB', asHalves('rb'), i, unitsB, strideB))}`
  const multiply = lines(
    tileK / 16,
    (
      q,
    ) => `${lines(fragmentsM, (i) => `let a${q}_${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tileA, (subM0 + ${i * 16}u) * ${strideA}u + ${q * 4}u, ${strideA}u);`)}
${lines(
  fragmentsN,
  (j) => `{
let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tileB, ${q * 16 * strideB}u + (subN0 + ${j * 16}u) / 4u, ${strideB}u);
${lines(fragmentsM, (i) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${q}_${i}, b, c${i}_${j});`)}
}`,
)}`,
  )
  const parts = resultParts(params)
  const rowUnits = columns / subgroupsN / parts / 4 // groups of four results in a part of a subgroup's row
  const resultStride = (subN / parts + 4) / 4
  const finishRow = `let r = (lane + q * ${subgroup}u) / ${rowUnits}u;
let g = (lane + q * ${subgroup}u) % ${rowUnits}u;
let at = sg * ${16 * resultStride}u + r * ${resultStride}u + g;`
  const inside = [
    // Workgroups to spare repeat the last job: storing it again would add a residual twice where it is replaced in place.
    ...(grid.overshoots ? [`${grid.index} == job`] : []),
    ...(m % tileM === 0 ? [] : [`row < ${m}u`]),
    ...(n % columns === 0 ? [] : [`group < ${n / 4}u`]),
    ...((16 * rowUnits) % subgroup === 0 ? [] : ['r < 16u']),
  ]
  const store = lines(fragmentsM, (i) =>
    lines(
      parts,
      (part) => `workgroupBarrier();
${lines(fragmentsN / parts, (j) => `subgroupMatrixStore<row_major>(&results, sg * ${16 * resultStride}u + ${j * 4}u, c${i}_${(part * fragmentsN) / parts + j}, ${resultStride}u);`)}
workgroupBarrier();
for (var q = 0u; q < ${Math.ceil((16 * rowUnits) / subgroup)}u; q++) {
${finishRow}
let row = m0 + subM0 + ${i * 16}u + r;
let group = (n0 + subN0 / ${halves}u) / 4u + ${part * rowUnits}u + g;
${inside.length ? `if (${inside.join(' && ')}) {` : '{'}
finish(row, group, results[at]${halves === 2 ? `, results[at + ${subN / 8}u]` : ''});
}
}`,
    ),
  )
  const wide = tilesN * tileN
  const keep = lines(fragmentsM, (i) =>
    lines(
      fragmentsN,
      (j) =>
        `subgroupMatrixStore<row_major>(&partial_, split * ${tilesM * tileM * wide}u + (m0 + subM0 + ${i * 16}u) * ${wide}u + n0 + subN0 + ${j * 16}u, c${i}_${j}, ${wide}u);`,
    ),
  )
  return `
var<workgroup> tileA: array<vec4<f16>, ${tileM * strideA}>;
var<workgroup> tileB: array<vec4<f16>, ${tileK * strideB}>;
${splits === 1 ? `var<workgroup> results: array<vec4<f32>, ${(threads / subgroup) * 16 * resultStride}>;` : ''}
${norm ? `${normalisedText}\n` : ''}@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) li: u32,
  @builtin(subgroup_id) sg: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let job = ${grid.overshoots ? `min(${grid.index}, ${workgroups - 1}u)` : grid.index};
  let split = job / ${tilesM * tilesN}u;
  let m0 = job / ${tilesN}u % ${tilesM}u * ${tileM}u;
  let n0 = job % ${tilesN}u * ${columns}u;
  let subM0 = sg / ${subgroupsN}u * ${subM}u;
  let subN0 = sg % ${subgroupsN}u * ${subN}u;
${lines(perA, (i) => {
  const row = `m0 + (li + ${i * threads}u) / ${unitsA}u`
  return `let row${i} = ${m % tileM === 0 ? row : `min(${row}, ${m - 1}u)`};\n${product.rowSetup(i)}${norm ? `\n${normRow(i, norm.moments(i))}` : ''}`
})}
${lines(fragmentsM, (i) => lines(fragmentsN, (j) => `var c${i}_${j}: subgroup_matrix_result<f32, 16, 16>;`))}
${norm ? 'var rGamma: vec4<u32>;\nvar rBeta: vec4<u32>;\n' : ''}${lines(perA, (i) => `var ra${i}: vec4<u32>;`)}
${lines(perB, (i) => `var rb${i}: vec4<u32>;`)}
  {
    let t = split * ${steps}u;
    ${fetch}
  }
  for (var step = 0u; step < ${steps}u; step++) {
    workgroupBarrier();
    ${stage}
    workgroupBarrier();
    if (step + 1u < ${steps}u) {
      let t = split * ${steps}u + step + 1u;
      ${fetch}
    }
    ${multiply}
  }
  ${splits === 1 ? store : keep}
}
`
}

/** What every module on matrix units begins with; `enables` of the bindings come first. */
export const matrixEnables = `enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
`
