// Partially fused softmax (Chen et al. 2023, arXiv:2304.11267, 3.2), what all its variants have in common: which rows of logits
// exist at a time, how they lie in scratch memory, and the small dispatches around the two products.
//   for each block of queries, all heads together:
//     logits = scale · q · kᵀ, stored once, in f32
//     for each row of logits: m = maximum, s = Σ 2^(x − m); m and 1/s stored
//     y = Σ 2^(x − m) · v / s: the weights exist only while the product loads them
// Blocks are dispatches of the same kernels: the number of the block is a counter in scratch memory.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Dispatch, Request } from '../family.ts'
import { workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, type NamedScratch } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { type AttentionProblem, attentionProblem, lowest } from './problem.ts'

/** How the logits are laid out and cut. */
export interface Logits extends AttentionProblem {
  readonly causal: boolean
  /** Products side by side: a picture's head each. */
  readonly batches: number
  /** Queries of a block, and how many blocks answer all of them. */
  readonly blockRows: number
  readonly blocks: number
  /** vec4s of a row of logits; beyond the last key they hold `lowest`. */
  readonly keys4: number
  /** vec4s of a head's channels, the last one not always full. */
  readonly width4: number
}

export interface Cut {
  /** Most bytes of logits at a time. */
  readonly logitBytes: number
  /** Blocks are multiples of so many rows, unless one holds all of them. */
  readonly rowsStep: number
  /** Rows of logits are multiples of so many vec4s. */
  readonly keysStep4: number
}

export function logitsOf(request: Request<AttentionAttrs>, { logitBytes, rowsStep, keysStep4 }: Cut): Logits {
  const problem = attentionProblem(request)
  const { n, heads, queries, keys, width } = problem
  const batches = n * heads
  const keys4 = Math.ceil(keys / 4 / keysStep4) * keysStep4
  const stepped = (rows: number) => Math.ceil(rows / rowsStep) * rowsStep
  const most = Math.max(1, Math.floor(logitBytes / (batches * keys4 * 16) / rowsStep)) * rowsStep
  const blockRows = stepped(Math.ceil(queries / Math.ceil(queries / most)))
  return {
    ...problem,
    causal: request.attrs.causal,
    ...{ batches, keys4, blockRows },
    blocks: Math.ceil(queries / blockRows),
    width4: Math.ceil(width / 4),
  }
}

/** [batch][row of the block][keys4] vec4: the logits, times log2(e), so that weights are powers of two. */
export const logitScratch: NamedScratch = { name: 'logits', index: 0, element: 'vec4<f32>' }
/** [batch][row of the block][2]: m and 1/s. */
export const statisticScratch: NamedScratch = { name: 'statistics', index: 1, element: 'f32' }
/** The number of the block. */
export const counterScratch: NamedScratch = { name: 'counter', index: 2, element: 'u32' }

/** Bytes of the three. */
export function logitScratchBytes({ batches, blockRows, keys4 }: Logits): readonly [number, number, number] {
  return [batches * blockRows * keys4 * 16, batches * blockRows * 8, 16]
}

/** Scratch of a dispatch that asks `firstQuery` which block it answers. */
export const blockScratch = ({ blocks }: Logits): readonly NamedScratch[] => (blocks > 1 ? [counterScratch] : [])

/** `fn firstQuery() -> u32`: the first query of the block. */
export function rowText({ blocks, blockRows }: Logits): string {
  return `fn firstQuery() -> u32 { return ${blocks > 1 ? `counter[0] * ${u32Text(blockRows)}` : '0u'}; }`
}

/**
 * `fn keep(row, group, logits)`: stores four keys of a row of the block (batch · blockRows + query), `lowest` where a key is
 * none or may not be seen.
 */
export function keepText({ keys, keys4, blockRows, causal }: Logits): string {
  const store = (value: string) => `logits[row * ${u32Text(keys4)} + group] = ${value};`
  if (!causal && keys === keys4 * 4) return `fn keep(row: u32, group: u32, value: vec4<f32>) { ${store('value')} }`
  const seen = causal ? `min(firstQuery() + row % ${u32Text(blockRows)} + 1u, ${u32Text(keys)})` : u32Text(keys)
  return `fn keep(row: u32, group: u32, value: vec4<f32>) {
  let key = vec4<u32>(group * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  ${store(`select(vec4<f32>(${f32Text(lowest)}), value, key < vec4<u32>(${seen}))`)}
}`
}

/** m and 1/s of every row of the block; `lanes` share a row, 1: without barriers. */
export function statisticsDispatch(request: Request<AttentionAttrs>, logits: Logits, lanes: number): Dispatch {
  const { batches, blockRows, keys4 } = logits
  const rows = batches * blockRows
  const together = lanes === 1 ? 16 : 1 // rows a workgroup
  const grid = splitGrid(Math.ceil(rows / together), request.capabilities.limits)
  const io = ioText([], [{ ...logitScratch, index: 0 }, statisticScratch])
  const wgsl = `${io.text}
${workgroupSumText(lanes)}
${lanes === 1 ? '' : maximumText(lanes)}
@compute @workgroup_size(${lanes * together})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = min(${grid.index}${together === 1 ? '' : ` * ${u32Text(together)} + lane`}, ${u32Text(rows - 1)}); // to spare: the last again
  var m = ${f32Text(lowest)};
  var s = 0.0;
  for (var t = 0u; t < ${u32Text(Math.ceil(keys4 / lanes))}; t++) { // of step 1 and constant, so that Dawn sees it end
    let g = ${lanes === 1 ? 't' : `t * ${u32Text(lanes)} + lane`};${keys4 % lanes === 0 ? '' : ` if (g >= ${u32Text(keys4)}) { break; }`}
    let x = logits[row * ${u32Text(keys4)} + g];
    let top = max(m, max(max(x.x, x.y), max(x.z, x.w)));
    s = s * exp2(m - top) + dot(exp2(x - top), vec4<f32>(1.0));
    m = top;
  }
  let most = ${lanes === 1 ? 'm' : 'workgroupMaximum(lane, m)'};
  let sum = workgroupSum(lane, s * exp2(m - most));
  ${lanes === 1 ? '' : 'if (lane == 0u) {'}
  statistics[row * 2u] = most;
  statistics[row * 2u + 1u] = 1.0 / sum;
  ${lanes === 1 ? '' : '}'}
}
`
  return { label: 'attention.statistics', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

/** The logits of the block into weights, 2^(x − m) / s, where they lie: for attention without any fusion. */
export function weightsDispatch(request: Request<AttentionAttrs>, { batches, blockRows, keys4 }: Logits): Dispatch {
  const lanes = 64
  const count = batches * blockRows * keys4
  const grid = splitGrid(Math.ceil(count / lanes), request.capabilities.limits)
  const io = ioText([], [logitScratch, statisticScratch])
  const wgsl = `${io.text}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${grid.index} * ${u32Text(lanes)} + lane;
  if (i >= ${u32Text(count)}) { return; }
  let row = i / ${u32Text(keys4)};
  logits[i] = exp2(logits[i] - statistics[row * 2u]) * statistics[row * 2u + 1u];
}
`
  return { label: 'attention.weights', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function maximumText(lanes: number): string {
  const steps: string[] = []
  for (let half = lanes / 2; half >= 1; half /= 2) {
    const n = u32Text(half)
    steps.push(`  if (lane < ${n}) { maxima[lane] = max(maxima[lane], maxima[lane + ${n}]); }\n  workgroupBarrier();`)
  }
  return `var<workgroup> maxima: array<f32, ${lanes}>;
fn workgroupMaximum(lane: u32, value: f32) -> f32 {
  maxima[lane] = value;
  workgroupBarrier();
${steps.join('\n')}
  return maxima[0];
}`
}

/** The dispatches of a block for every block, and those that count. `once` come before all. */
export function blockwise({ blocks }: Logits, once: readonly Dispatch[], block: readonly Dispatch[]): Dispatch[] {
  if (blocks === 1) return [...once, ...block]
  const count = (label: string, statement: string): Dispatch => {
    const io = ioText([], [counterScratch])
    const wgsl = `${io.text}\n@compute @workgroup_size(1)\nfn main() { ${statement} }\n`
    return { label: `attention.${label}`, wgsl, bindings: io.bindings, workgroups: [1, 1, 1] }
  }
  const next = count('next block', 'counter[0] += 1u;')
  const all = Array.from({ length: blocks }, (_, i) => (i === 0 ? block : [next, ...block]))
  return [...once, count('first block', 'counter[0] = 0u;'), ...all.flat()]
}

/** Whether the bindings of the widest dispatch, the product with v, fit: v, y, the epilogue's, three of scratch. */
export function bindsAll({ inputs, output, epilogue, capabilities }: Request<AttentionAttrs>): boolean {
  const operands = [...inputs, output, ...(epilogue?.inputs ?? [])]
  const slots = new Set([inputs[2]!, output, ...(epilogue?.inputs ?? [])].map(({ slot }) => slot))
  return (
    slots.size + 3 <= capabilities.limits.maxStorageBuffersPerShaderStage &&
    (capabilities.shaderF16 || operands.every(({ storage }) => storage !== 'f16'))
  )
}
