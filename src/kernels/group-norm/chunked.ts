// Statistics spread over the whole device, in two dispatches; any group width:
//   moments: a workgroup takes a chunk of pixels × a block of groups. A lane holds one vec4 of channels of some pixels in
//            registers (memory is read once): mean and sum of squared deviations; channels and then groups are joined in
//            workgroup memory (Chan, Golub, LeVeque 1983, eq. 2.1 for many parts: M2 = Σ M2ᵢ + Σ wᵢ (meanᵢ − mean)²)
//   apply:   every workgroup joins the chunks of all groups of its picture, then (x − mean) · rstd · gamma + beta
// Wins on GPUs while a picture has some hundred chunks at most; loses on CPUs (barriers).
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Dispatch, Kernel, Request, Variant } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, elementBytes, ioText, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { type GroupNormProblem, groupNormProblem, tolerance } from './problem.ts'

interface Params {
  /** Pixels that a lane holds at a time. */
  readonly held: number
  /** Chunks of a picture at most: lanes then take several times as many pixels, one lot after the other. */
  readonly maxChunks: number
  /** Workgroups that apply, of all pictures, at most. */
  readonly appliers: number
}

const lanes = 256
const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const names = ['x', 'gamma', 'beta']

interface Chunks extends GroupNormProblem {
  /** Groups of a workgroup and the vec4s that hold their channels. */
  readonly blockGroups: number
  readonly columns: number
  readonly blocks: number
  /** Pixels beside each other in a workgroup. */
  readonly beside: number
  /** How often a lane takes `held` pixels. */
  readonly lots: number
  readonly chunkPixels: number
  readonly chunks: number
}

/** Undefined where a group is too wide for a workgroup, or there are too many to join them in one. */
function chunksOf(request: Request<GroupNormAttrs>, { held, maxChunks }: Params): Chunks | undefined {
  const problem = groupNormProblem(request)
  const { groups, width, pixels } = problem
  // Blocks begin at whole vec4s.
  const aligned = width % 4 === 0 ? 1 : width % 2 === 0 ? 2 : 4
  const most = Math.floor((lanes * 4) / width / aligned) * aligned
  if (most < 1 || groups > lanes) return undefined
  const blocks = Math.ceil(groups / most)
  const blockGroups = Math.min(groups, Math.ceil(Math.ceil(groups / blocks) / aligned) * aligned)
  const columns = Math.ceil((blockGroups * width) / 4)
  const beside = Math.floor(lanes / columns)
  const lots = Math.ceil(pixels / (held * beside * maxChunks))
  const chunkPixels = held * beside * lots
  return {
    ...problem,
    ...{ blockGroups, columns, blocks: Math.ceil(groups / blockGroups), beside, lots, chunkPixels },
    chunks: Math.ceil(pixels / chunkPixels),
  }
}

/** [n, chunk, groups, 2]: mean and sum of squared deviations. */
const moments: NamedScratch = { name: 'moments', index: 0, element: 'f32' }

function momentsDispatch(request: Request<GroupNormAttrs>, params: Params, c: Chunks): Dispatch {
  const { n, pixels, groups, groups4, width, blockGroups, columns, blocks, beside, lots, chunkPixels, chunks } = c
  const { held } = params
  const io = ioText(
    requestOperands(request, names).filter(({ name }) => name === 'x'),
    [moments],
  )
  const count = n * chunks * blocks
  const grid = splitGrid(count, request.capabilities.limits)
  const active = columns * beside
  const start = blocks === 1 ? '0u' : `block * ${u32Text((blockGroups * width) / 4)}`
  const pixel = (i: number) => `(at + ${u32Text(i * beside)})`
  const each = (text: (i: number) => string) => range(held).map(text).join('\n    ')
  const wgsl = `${io.enables}${io.text}
var<workgroup> means: array<vec4<f32>, ${active}>;
var<workgroup> squares: array<vec4<f32>, ${active}>;
var<workgroup> counts: array<f32, ${beside}>;
@compute @workgroup_size(${Math.max(active, blockGroups)})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let job = ${grid.index};
  if (job >= ${u32Text(count)}) { return; }
  let block = job % ${u32Text(blocks)};
  let chunk = job / ${u32Text(blocks)} % ${u32Text(chunks)};
  let image = job / ${u32Text(blocks * chunks)};
  let first = chunk * ${u32Text(chunkPixels)};
  let end = min(first + ${u32Text(chunkPixels)}, ${u32Text(pixels)});
  let column = min(${start} + li % ${u32Text(columns)}, ${u32Text(groups4 - 1)});
  var mean = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  var seen = 0.0;
  for (var lot = 0u; lot < ${u32Text(lots)}; lot++) {
    let at = first + lot * ${u32Text(held * beside)} + li / ${u32Text(columns)};
    ${each((i) => `let x${i} = load_x(image * ${u32Text(pixels)} + min(${pixel(i)}, ${u32Text(pixels - 1)}), column);`)}
    ${each((i) => `let w${i} = select(0.0, 1.0, ${pixel(i)} < end);`)}
    let own = ${range(held)
      .map((i) => `w${i}`)
      .join(' + ')};
    let ownMean = (${range(held)
      .map((i) => `w${i} * x${i}`)
      .join(' + ')}) / max(own, 1.0);
    ${each((i) => `let d${i} = x${i} - ownMean;`)}
    let apart = ownMean - mean;
    let all = max(seen + own, 1.0);
    square += ${range(held)
      .map((i) => `w${i} * d${i} * d${i}`)
      .join(' + ')} + apart * apart * (seen * own / all);
    mean += apart * (own / all);
    seen += own;
  }
  if (li < ${u32Text(active)}) {
    means[li] = mean;
    squares[li] = square;
    if (li % ${u32Text(columns)} == 0u) { counts[li / ${u32Text(columns)}] = seen; }
  }
  workgroupBarrier();
  let group = block * ${u32Text(blockGroups)} + li;
  if (li >= ${u32Text(blockGroups)} || group >= ${u32Text(groups)}) { return; }
  let total = f32(end - first) * ${f32Text(width)};
  var sum = 0.0;
  for (var p = 0u; p < ${u32Text(beside)}; p++) {
    for (var j = 0u; j < ${u32Text(width)}; j++) {
      let c = li * ${u32Text(width)} + j;
      sum += counts[p] * means[p * ${u32Text(columns)} + c / 4u][c % 4u];
    }
  }
  let groupMean = sum / total;
  var groupSquare = 0.0;
  for (var p = 0u; p < ${u32Text(beside)}; p++) {
    for (var j = 0u; j < ${u32Text(width)}; j++) {
      let c = li * ${u32Text(width)} + j;
      let place = p * ${u32Text(columns)} + c / 4u;
      let apart = means[place][c % 4u] - groupMean;
      groupSquare += squares[place][c % 4u] + counts[p] * apart * apart;
    }
  }
  let place = ((image * ${u32Text(chunks)} + chunk) * ${u32Text(groups)} + group) * 2u;
  moments[place] = groupMean;
  moments[place + 1u] = groupSquare;
}
`
  return { label: 'groupNorm.moments', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function applyDispatch(request: Request<GroupNormAttrs>, params: Params, c: Chunks): Dispatch {
  const { n, pixels, groups, groups4, width, chunkPixels, chunks } = c
  const io = ioText(requestOperands(request, names), [moments])
  const perImage = Math.max(1, Math.min(Math.ceil(params.appliers / n), Math.ceil((pixels * groups4) / lanes)))
  const run = Math.ceil(pixels / perImage) // pixels of a workgroup
  const runs = Math.ceil(pixels / run)
  const grid = splitGrid(n * runs, request.capabilities.limits)
  const share = 2 ** Math.floor(Math.log2(lanes / groups)) // lanes that join the chunks of a group
  const weight = (chunk: string) =>
    `f32(min(${u32Text(chunkPixels)}, ${u32Text(pixels)} - ${chunk} * ${u32Text(chunkPixels)}))`
  const total = f32Text(pixels * width)
  const join = range(Math.log2(share))
    .map((i) => u32Text(share / 2 ** (i + 1)))
    .map(
      (half) => `  if (li < ${u32Text(groups * share)} && part < ${half}) { sums[li] += sums[li + ${half}]; }
  workgroupBarrier();`,
    )
    .join('\n')
  const walk = (body: string) => `  if (li < ${u32Text(groups * share)}) {
    var sum = 0.0;
    for (var t = 0u; t < ${u32Text(Math.ceil(chunks / share))}; t++) {
      let chunk = t * ${u32Text(share)} + part;
      if (chunk >= ${u32Text(chunks)}) { break; }
      let place = ((image * ${u32Text(chunks)} + chunk) * ${u32Text(groups)} + group) * 2u;
      ${body}
    }
    sums[li] = sum;
  }
  workgroupBarrier();
${join}`
  const statistic = (array: string) =>
    width % 4 === 0
      ? `vec4<f32>(${array}[g / ${u32Text(width / 4)}])`
      : `vec4<f32>(${range(4).map((i) => `${array}[min((g * 4u + ${u32Text(i)}) / ${u32Text(width)}, ${u32Text(groups - 1)})]`)})`
  const wgsl = `${io.enables}${io.text}
${epilogueText(request)}
var<workgroup> sums: array<f32, ${lanes}>;
var<workgroup> groupMeans: array<f32, ${groups}>;
var<workgroup> groupRstds: array<f32, ${groups}>;
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let job = ${grid.index};
  if (job >= ${u32Text(n * runs)}) { return; }
  let image = job / ${u32Text(runs)};
  let group = li / ${u32Text(share)};
  let part = li % ${u32Text(share)};
${walk(`sum += ${weight('chunk')} * ${f32Text(width)} * moments[place];`)}
  if (li < ${u32Text(groups)}) { groupMeans[li] = sums[li * ${u32Text(share)}] / ${total}; }
  workgroupBarrier();
${walk(`let apart = moments[place] - groupMeans[group];
      sum += moments[place + 1u] + ${weight('chunk')} * ${f32Text(width)} * apart * apart;`)}
  if (li < ${u32Text(groups)}) {
    groupRstds[li] = inverseSqrt(sums[li * ${u32Text(share)}] / ${total} + ${f32Text(request.attrs.epsilon)});
  }
  workgroupBarrier();
  let first = job % ${u32Text(runs)} * ${u32Text(run)};
  let count = min(${u32Text(run)}, ${u32Text(pixels)} - first) * ${u32Text(groups4)};
  // In turns of a constant number, which Dawn sees end: other loops cost a countdown in memory.
  for (var t = 0u; t < ${u32Text(Math.ceil((run * groups4) / lanes))}; t++) {
    let e = t * ${u32Text(lanes)} + li;
    if (e >= count) { break; }
    let row = image * ${u32Text(pixels)} + first + e / ${u32Text(groups4)};
    let g = e % ${u32Text(groups4)};
    let v = (load_x(row, g) - ${statistic('groupMeans')}) * (${statistic('groupRstds')} * load_gamma(0u, g)) + load_beta(0u, g);
    store_y(row, g, epilogue(row, g, v));
  }
}
`
  return { label: 'groupNorm.apply', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function emit(request: Request<GroupNormAttrs>, params: Params): Kernel {
  const chunks = chunksOf(request, params)!
  return {
    dispatches: [momentsDispatch(request, params, chunks), applyDispatch(request, params, chunks)],
    scratch: scratchBytes(chunks),
  }
}

function scratchBytes({ n, chunks, groups }: Chunks): readonly number[] {
  return [n * chunks * groups * 8]
}

export const chunkedGroupNorm: Variant<GroupNormAttrs, Params> = {
  name: 'chunked',
  tunings: {
    software: [],
    gpu: [
      { held: 8, maxChunks: 256, appliers: 528 },
      { held: 16, maxChunks: 256, appliers: 528 },
      { held: 4, maxChunks: 64, appliers: 264 },
    ],
  },
  supports: (request, params) =>
    bindable(request, 1) &&
    lanes <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup &&
    chunksOf(request, params) !== undefined,
  cost(request, params) {
    const c = chunksOf(request, params)!
    const elements = c.n * c.pixels * c.groups4
    if (request.capabilities.kind === 'software') return elements * 200
    // Two launches; what a workgroup waits for: its lots of loads, the joining of a group, that of the chunks; and memory.
    const waiting = c.lots * (800 + params.held * 20) + c.beside * c.width * 20 + (c.chunks * c.groups) / 16
    const waves = Math.max(1, (c.n * c.chunks * c.blocks) / 528)
    return 8000 + waves * waiting + (elements * 3 * elementBytes[request.output.storage]) / 2000
  },
  scratch: (request, params) => scratchBytes(chunksOf(request, params)!),
  emit,
  tolerance,
}
