// Statistics spread over the whole device, in three dispatches; any group width, as channels stay apart until the second:
//   partial: for each (picture, chunk of pixels, vec4 of channels): mean and sum of squared deviations, in two walks
//   merge:   for each (picture, group): the partials of its channels joined (Chan, Golub, LeVeque 1983, eq. 2.1 for many
//            parts: M2 = Σ M2ᵢ + Σ wᵢ (meanᵢ − mean)²) → for each channel: mean, rstd · gamma
//   apply:   for each element: (x − mean) · scale + beta
// Wins on large pictures and on CPUs (no barriers with mergeLanes 1); loses where three dispatches cost more than the work.
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Dispatch, Kernel, Request, Variant } from '../family.ts'
import { workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { gatherDispatch } from '../pointwise/gather.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, elementBytes, ioText, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText, u32Text } from '../wgsl/number.ts'
import { type GroupNormProblem, groupNormProblem, tolerance } from './problem.ts'

interface Params {
  /** Pixels a partial covers, unless there would be more chunks than maxChunks. */
  readonly chunkPixels: number
  readonly maxChunks: number
  /** Lanes that merge one group, a power of two; 1: no barriers, and 16 groups a workgroup. */
  readonly mergeLanes: number
  readonly lanes: number
  readonly perLane: number
}

interface Chunks {
  readonly pixels: number
  readonly count: number
}

function chunksOf({ pixels }: GroupNormProblem, { chunkPixels, maxChunks }: Params): Chunks {
  const size = Math.max(chunkPixels, Math.ceil(pixels / maxChunks))
  return { pixels: size, count: Math.ceil(pixels / size) }
}

/** [n, chunk, 2, groups4] vec4: means, then sums of squared deviations. */
const partials: NamedScratch = { name: 'partials', index: 0, element: 'vec4<f32>' }
/** [n, 2, groups4] vec4: means, then scales. `merge` writes it channel by channel. */
const statistics: NamedScratch = { name: 'statistics', index: 1, element: 'vec4<f32>' }

function partialDispatch(request: Request<GroupNormAttrs>, params: Params): Dispatch {
  const problem = groupNormProblem(request)
  const chunks = chunksOf(problem, params)
  const io = ioText(
    requestOperands(request, ['x', 'gamma', 'beta']).filter((o) => o.name === 'x'),
    [partials],
  )
  const total = problem.n * chunks.count * problem.groups4
  const grid = splitGrid(Math.ceil(total / params.lanes), request.capabilities.limits)
  const [groups4, count, pixels] = [sizeText(problem.groups4), sizeText(chunks.count), sizeText(problem.pixels)]
  const wgsl = `${io.enables}${io.text}
@compute @workgroup_size(${params.lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${grid.index} * ${u32Text(params.lanes)} + lane;
  if (i >= ${sizeText(total)}) { return; }
  let g = i % ${groups4};
  let part = i / ${groups4};
  let first = part % ${count} * ${sizeText(chunks.pixels)};
  let size = min(${sizeText(chunks.pixels)}, ${pixels} - first);
  let row = part / ${count} * ${pixels} + first;
  var sum = vec4<f32>(0.0);
  for (var r = 0u; r < size; r++) { sum += load_x(row + r, g); }
  let mean = sum / f32(size);
  var squares = vec4<f32>(0.0);
  for (var r = 0u; r < size; r++) { let d = load_x(row + r, g) - mean; squares += d * d; }
  let place = part * 2u * ${groups4} + g;
  partials[place] = mean;
  partials[place + ${groups4}] = squares;
}
`
  return { label: 'groupNorm.partial', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function mergeDispatch(request: Request<GroupNormAttrs>, params: Params): Dispatch {
  const problem = groupNormProblem(request)
  const { n, groups, width, pixels } = problem
  const chunks = chunksOf(problem, params)
  const io = ioText(
    requestOperands(request, ['x', 'gamma', 'beta']).filter((o) => o.name === 'gamma'),
    [
      { ...partials, element: 'f32' },
      { ...statistics, element: 'f32' },
    ],
  )
  const step = params.mergeLanes
  const together = step === 1 ? 16 : 1 // groups a workgroup
  const grid = splitGrid(Math.ceil((n * groups) / together), request.capabilities.limits)
  const channels = sizeText(problem.groups4 * 4) // stored ones
  const last = sizeText(n * groups - 1)
  const count = `f32(${sizeText(pixels * width)})`
  const walk = (body: string) => `for (var e = first; e < ${sizeText(chunks.count * width)}; e += ${u32Text(step)}) {
    let chunk = e / ${sizeText(width)};
    let weight = f32(min(${sizeText(chunks.pixels)}, ${sizeText(pixels)} - chunk * ${sizeText(chunks.pixels)}));
    let place = (n * ${sizeText(chunks.count)} + chunk) * 2u * ${channels} + channel + e % ${sizeText(width)};
    ${body}
  }`
  const wgsl = `${io.enables}${io.text}
${workgroupSumText(step)}
@compute @workgroup_size(${step * together})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let part = min(${grid.index}${together === 1 ? '' : ` * ${u32Text(together)} + lane`}, ${last}); // to spare: the last again
  let first = ${step === 1 ? '0u' : 'lane'};
  let n = part / ${sizeText(groups)};
  let channel = part % ${sizeText(groups)} * ${sizeText(width)};
  var sum = 0.0;
  ${walk('sum += weight * partials[place];')}
  let mean = workgroupSum(lane, sum) / ${count};
  var squares = 0.0;
  ${walk(`let d = partials[place] - mean;\n    squares += partials[place + ${channels}] + weight * d * d;`)}
  let rstd = inverseSqrt(workgroupSum(lane, squares) / ${count} + ${f32Text(request.attrs.epsilon)});
  for (var c = channel + first; c < channel + ${sizeText(width)}; c += ${u32Text(step)}) {
    statistics[n * 2u * ${channels} + c] = mean;
    statistics[(n * 2u + 1u) * ${channels} + c] = rstd * load_gamma(0u, c / 4u)[c % 4u];
  }
}
`
  return { label: 'groupNorm.merge', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function applyDispatch(request: Request<GroupNormAttrs>, params: Params): Dispatch {
  const { pixels, groups4 } = groupNormProblem(request)
  const operands = requestOperands(request, ['x', 'gamma', 'beta']).filter((o) => o.name !== 'gamma')
  const result = `${epilogueText(request)}
fn result(row: u32, group: u32) -> vec4<f32> {
  let place = row / ${sizeText(pixels)} * ${sizeText(2 * groups4)} + group;
  let v = (load_x(row, group) - statistics[place]) * statistics[place + ${sizeText(groups4)}] + load_beta(0u, group);
  return epilogue(row, group, v);
}`
  return gatherDispatch('groupNorm.apply', request, params, operands, result, [statistics])
}

function emit(request: Request<GroupNormAttrs>, params: Params): Kernel {
  const problem = groupNormProblem(request)
  const { n, groups4 } = problem
  return {
    dispatches: [partialDispatch(request, params), mergeDispatch(request, params), applyDispatch(request, params)],
    scratch: [n * chunksOf(problem, params).count * 2 * groups4 * 16, n * 2 * groups4 * 16],
  }
}

export const splitGroupNorm: Variant<GroupNormAttrs, Params> = {
  name: 'split',
  tunings: {
    software: [{ chunkPixels: 32, maxChunks: 64, mergeLanes: 1, lanes: 32, perLane: 4 }],
    gpu: [
      { chunkPixels: 16, maxChunks: 512, mergeLanes: 64, lanes: 256, perLane: 1 },
      { chunkPixels: 64, maxChunks: 2048, mergeLanes: 256, lanes: 128, perLane: 4 },
    ],
  },
  supports: (request, { lanes, mergeLanes }) =>
    bindable(request, 1) &&
    Math.max(lanes, mergeLanes) <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup,
  cost(request, params) {
    const problem = groupNormProblem(request)
    const elements = problem.n * problem.pixels * problem.groups4
    if (request.capabilities.kind === 'software') return elements * 60
    const chunks = chunksOf(problem, params)
    const invocations = problem.n * chunks.count * problem.groups4
    const partial = chunks.pixels * 2 * 30 * Math.max(1, invocations / 262_144)
    const merge = ((chunks.count * problem.width) / params.mergeLanes) * 2 * 30
    return 12_000 + partial + merge + (elements * 3 * elementBytes[request.output.storage]) / 1500
  },
  emit,
  tolerance,
}
