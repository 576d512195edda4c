// The loop nest of attention on matrix units (recurrence of per-query.ts; fragments of 16×16, f16 products, f32 sums):
//   a workgroup answers subgroups × rows queries of one head; q in fragments, for good
//   for tile of keys:
//     S = q · kᵀ → the subgroup's slab; barrier
//     registers → workgroup memory: the next k, this v; fetch those after them, which arrive while the units multiply
//     by row: maximum, weights 2^(s − reference) in f16, their sum; barrier
//     rarely: o through the slab, rows · 2^(old − new reference)
//     o += weights · v
//   o through the slab, rows / sum, epilogue, store
// Fragments allow no access to elements, so o is rescaled as seldom as can be: a row's reference need not be its maximum (any
// will do), only near enough for f16. It is set 2^7 above the weights' largest, and again when one would exceed 2^15.
// k is staged while nobody reads it (after its product), so is v: two barriers a tile and the one that tells whether to rescale.
// Rows of workgroup memory are padded by 16 bytes against bank conflicts. Heads are padded to multiples of 16 channels: q with
// zeros, k and v by what nobody writes, which WGSL has at zero.
import type { Grid } from '../wgsl/grid.ts'
import { f32Text } from '../wgsl/number.ts'
import type { AttentionProblem } from './problem.ts'
import { lowest, queryScale } from './problem.ts'

export interface AttentionTile {
  /** Subgroups (of 32 lanes) a workgroup. */
  readonly subgroups: number
  /** Queries a subgroup: k and v fragments serve all of them. */
  readonly rows: 16 | 32
  /** Keys a tile: a multiple of 16. */
  readonly keys: number
}

/** Where an operand lies, in units of eight channels. */
export interface EightWide {
  readonly variable: string
  readonly offset: number
  readonly stride: number
}

export interface MatrixAttention extends AttentionProblem {
  readonly causal: boolean
  readonly scale: number
  readonly grid: Grid
  readonly q: EightWide
  readonly k: EightWide
  readonly v: EightWide
}

const subgroup = 32
const below = 7 // a new reference lies so far (log2) below the maximum,
const above = 15 // and is raised when a logit exceeds it by more: 2^15 is f16's last power of two

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lines = (n: number, line: (i: number) => string) => range(n).map(line).join('\n')

export const threadsOf = ({ subgroups }: AttentionTile) => subgroups * subgroup
export const tileQueries = ({ subgroups, rows }: AttentionTile) => subgroups * rows
export const paddedWidth = (width: number) => Math.ceil(width / 16) * 16

export function workgroupBytes({ subgroups, rows, keys }: AttentionTile, width: number): number {
  const tiles = 2 * keys * (paddedWidth(width) + 8) * 2
  const slabs = subgroups * rows * ((keys + 4) * 4 + (keys + 8) * 2)
  return tiles + slabs + Math.ceil(subgroups / 4) * 16
}

/** The entry point. Needs `epilogue` and `store_y` and the bindings of q, k and v as array<vec4<u32>>. */
export function matrixAttentionMain(tile: AttentionTile, problem: MatrixAttention): string {
  const { subgroups, rows, keys } = tile
  const { n, heads, width, causal, grid } = problem
  const threads = threadsOf(tile)
  const perBlock = tileQueries(tile)
  const blocks = Math.ceil(problem.queries / perBlock)
  const jobs = n * heads * blocks
  const padded = paddedWidth(width)
  const [channelFragments, keyFragments, rowFragments] = [padded / 16, keys / 16, rows / 16]
  const [strideT, strideS, strideP] = [(padded + 8) / 4, (keys + 4) / 4, (keys + 8) / 4] // of rows, in vec4
  const units = width / 8 // of a row of k or v
  const staged = keys * units
  const loads = Math.ceil(staged / threads) // a lane, of k and of v
  const sharing = subgroup / rows // lanes that share a row of logits
  const held = keys / sharing / 4 // vec4s of logits of a lane
  const tiles = Math.ceil(problem.keys / keys)
  const masks = causal || problem.keys % keys !== 0
  const inRows = (i: number) => `(row0 + ${i * 16}u)`
  const each = (line: (i: number, j: number) => string) =>
    lines(rowFragments, (i) => lines(channelFragments, (j) => line(i, j)))

  const fetch = (what: 'k' | 'v', step: string) =>
    lines(loads, (i) => {
      const key = `(${step}) * ${keys}u + key${i}`
      const inside = problem.keys % keys === 0 ? key : `min(${key}, ${problem.keys - 1}u)`
      const { variable, stride } = problem[what]
      return `${what}${i} = ${variable}[${what}Start${i} + (${inside}) * ${stride}u];`
    })
  const stage = (what: 'k' | 'v', to: string) =>
    lines(loads, (i) => {
      const put = `${to}[place${i}] = bitcast<vec4<f16>>(${what}${i}.xy);
${to}[place${i} + 1u] = bitcast<vec4<f16>>(${what}${i}.zw);`
      return (i + 1) * threads <= staged ? put : `if (li + ${i * threads}u < ${staged}u) {\n${put}\n}`
    })

  // Through the slab of weights, as many channels at a time as it has columns.
  const loadQueries = lines(Math.ceil(padded / keys), (round) => {
    const columns = Math.min(keys, padded - round * keys) / 8 // in units
    return `for (var i = 0u; i < ${(rows * columns) / subgroup}u; i++) {
let e = i * ${subgroup}u + lane;
let unit = ${(round * keys) / 8}u + e % ${columns}u;
let row = n * ${problem.queries}u + min(query0 + e / ${columns}u, ${problem.queries - 1}u);
let value = ${problem.q.variable}[${problem.q.offset}u + row * ${problem.q.stride}u + head * ${units}u + min(unit, ${units - 1}u)];
let eight = select(vec4<u32>(0u), value, unit < ${units}u);
let at = (row0 + e / ${columns}u) * ${strideP}u + e % ${columns}u * 2u;
weights[at] = bitcast<vec4<f16>>(eight.xy);
weights[at + 1u] = bitcast<vec4<f16>>(eight.zw);
}
workgroupBarrier();
${lines(rowFragments, (i) =>
  lines(
    columns / 2,
    (c) =>
      `let q${i}_${(round * keys) / 16 + c} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&weights, ${inRows(i)} * ${strideP}u + ${c * 4}u, ${strideP}u);`,
  ),
)}
workgroupBarrier();`
  })

  // Column-major over rows of keys: kᵀ.
  const multiplyKeys = `${lines(rowFragments, (i) => lines(keyFragments, (j) => `var s${i}_${j} = subgroup_matrix_result<f32, 16, 16>();`))}
${lines(channelFragments, (c) =>
  lines(
    keyFragments,
    (j) => `{
let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tileK, ${j * 16 * strideT + c * 4}u, ${strideT}u);
${lines(rowFragments, (i) => `s${i}_${j} = subgroupMatrixMultiplyAccumulate(q${i}_${c}, b, s${i}_${j});`)}
}`,
  ),
)}
${lines(rowFragments, (i) => lines(keyFragments, (j) => `subgroupMatrixStore<row_major>(&slab, ${inRows(i)} * ${strideS}u + ${j * 4}u, s${i}_${j}, ${strideS}u);`))}`

  const softmax = `${lines(held, (j) => {
    const logits = `slab[slabRow + ${j}u] * ${f32Text(queryScale(problem.scale))}`
    const key = `(vec4<u32>(step * ${keys}u + part * ${held * 4}u + ${j * 4}u) + vec4<u32>(0u, 1u, 2u, 3u))`
    return `let x${j} = ${masks ? `select(vec4<f32>(${f32Text(lowest)}), ${logits}, ${key} < vec4<u32>(seen))` : logits};`
  })}
var top4 = x0;
${lines(held - 1, (j) => `top4 = max(top4, x${j + 1});`)}
var top = max(max(top4.x, top4.y), max(top4.z, top4.w));
${sharing === 2 ? `top = max(top, subgroupShuffleXor(top, ${rows}u));` : ''}
let raise = top > reference + ${f32Text(above)};
let raised = select(reference, top - ${f32Text(below)}, raise);
let fade = exp2(reference - raised);
reference = raised;
sum *= fade;
${lines(
  held,
  (j) => `let p${j} = vec4<f16>(exp2(x${j} - reference));
weights[weightsRow + ${j}u] = p${j};
sum += dot(vec4<f32>(p${j}), vec4<f32>(1.0));`,
)}
let anyRaise = subgroupAny(raise);
if (lane == 0u) { raises[sg] = select(0u, 1u, anyRaise && step > 0u); }`

  const multiplyValues = lines(
    keyFragments,
    (
      q,
    ) => `${lines(rowFragments, (i) => `let p${q}_${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&weights, ${inRows(i)} * ${strideP}u + ${q * 4}u, ${strideP}u);`)}
${lines(
  channelFragments,
  (j) => `{
let b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tileV, ${q * 16 * strideT + j * 4}u, ${strideT}u);
${lines(rowFragments, (i) => `o${i}_${j} = subgroupMatrixMultiplyAccumulate(p${q}_${i}, b, o${i}_${j});`)}
}`,
)}`,
  )

  /** Columns of o that the slab holds at a time: text for fragments `from` … `from + count − 1`. */
  const chunks = (text: (from: number, count: number) => string) =>
    lines(Math.ceil(channelFragments / keyFragments), (chunk) => {
      const from = chunk * keyFragments
      return text(from, Math.min(keyFragments, channelFragments - from))
    })
  const each16 = (from: number, count: number, text: (i: number, j: number, at: string) => string) =>
    lines(rowFragments, (i) => lines(count, (c) => text(i, from + c, `${inRows(i)} * ${strideS}u + ${c * 4}u`)))
  const toSlab = (from: number, count: number) =>
    each16(from, count, (i, j, at) => `subgroupMatrixStore<row_major>(&slab, ${at}, o${i}_${j}, ${strideS}u);`)

  const rescale = chunks(
    (from, count) => `${toSlab(from, count)}
workgroupBarrier();
for (var j = 0u; j < ${held}u; j++) { slab[slabRow + j] *= fade; }
workgroupBarrier();
${each16(from, count, (i, j, at) => `o${i}_${j} = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&slab, ${at}, ${strideS}u);`)}
workgroupBarrier();`,
  )

  const live = grid.overshoots ? `${grid.index} == job && ` : ''
  const finish = chunks((from, count) => {
    const groups = count * 4
    const real = (from + count) * 4 <= width / 4 ? '' : ` && group < ${width / 4}u`
    return `${toSlab(from, count)}
workgroupBarrier();
for (var i = 0u; i < ${(rows * groups) / subgroup}u; i++) {
let e = i * ${subgroup}u + lane;
let row = e / ${groups}u;
let group = ${from * 4}u + e % ${groups}u;
let value = slab[(row0 + row) * ${strideS}u + e % ${groups}u] * subgroupShuffle(inverse, row);
if (${live}query0 + row < ${problem.queries}u${real}) {
let place = n * ${problem.queries}u + query0 + row;
store_y(place, head * ${width / 4}u + group, epilogue(place, head * ${width / 4}u + group, value));
}
}
workgroupBarrier();`
  })

  return `
var<workgroup> tileK: array<vec4<f16>, ${keys * strideT}>;
var<workgroup> tileV: array<vec4<f16>, ${keys * strideT}>;
var<workgroup> slab: array<vec4<f32>, ${perBlock * strideS}>;
var<workgroup> weights: array<vec4<f16>, ${perBlock * strideP}>;
var<workgroup> raises: array<u32, ${subgroups}>;
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) wid: vec3<u32>,
  @builtin(local_invocation_index) li: u32,
  @builtin(subgroup_id) sg: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let job = ${grid.overshoots ? `min(${grid.index}, ${jobs - 1}u)` : grid.index}; // to spare: the last again, storing nothing
  let block = job % ${blocks}u;
  let head = job / ${blocks}u % ${heads}u;
  let n = job / ${blocks * heads}u;
  let row0 = sg * ${rows}u;
  let query0 = block * ${perBlock}u + row0;
${lines(
  loads,
  (
    i,
  ) => `let key${i} = ${(i + 1) * threads <= staged ? `(li + ${i * threads}u) / ${units}u` : `min((li + ${i * threads}u) / ${units}u, ${keys - 1}u)`};
let kStart${i} = ${problem.k.offset}u + n * ${problem.keys * problem.k.stride}u + head * ${units}u + (li + ${i * threads}u) % ${units}u;
let vStart${i} = ${problem.v.offset}u + n * ${problem.keys * problem.v.stride}u + head * ${units}u + (li + ${i * threads}u) % ${units}u;
let place${i} = key${i} * ${strideT}u + (li + ${i * threads}u) % ${units}u * 2u;
var k${i}: vec4<u32>;
var v${i}: vec4<u32>;`,
)}
${fetch('k', '0u')}
${loadQueries}
${stage('k', 'tileK')}
${tiles > 1 ? fetch('k', '1u') : ''}
${fetch('v', '0u')}
  let slabRow = (row0 + lane % ${rows}u) * ${strideS}u + lane / ${rows}u * ${held}u;
  let weightsRow = (row0 + lane % ${rows}u) * ${strideP}u + lane / ${rows}u * ${held}u;
${masks ? `let part = lane / ${rows}u;\nlet seen = ${causal ? `min(query0 + lane % ${rows}u + 1u, ${problem.keys}u)` : `${problem.keys}u`};` : ''}
  var reference = ${f32Text(lowest)};
  var sum = 0.0;
${each((i, j) => `var o${i}_${j} = subgroup_matrix_result<f32, 16, 16>();`)}
  workgroupBarrier();
  // All tiles, also where causal: only text encoders are, and their 77 tokens are two tiles or three.
  for (var step = 0u; step < ${tiles}u; step++) {
    ${multiplyKeys}
    workgroupBarrier();
    ${stage('k', 'tileK')}
    ${stage('v', 'tileV')}
    if (step + 2u < ${tiles}u) {
      ${fetch('k', 'step + 2u')}
    }
    if (step + 1u < ${tiles}u) {
      ${fetch('v', 'step + 1u')}
    }
    ${softmax}
    let rescales = workgroupUniformLoad(&raises);
    if (${range(subgroups)
      .map((s) => `rescales[${s}] != 0u`)
      .join(' || ')}) {
      ${rescale}
    }
    ${multiplyValues}
  }
  ${sharing === 2 ? `sum += subgroupShuffleXor(sum, ${rows}u);` : ''}
  let inverse = 1.0 / sum;
  ${finish}
}
`
}
