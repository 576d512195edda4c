// Attention on matrix units (subgroup matrices): f16 in, f32 sums, logits only in workgroup memory. The loop nest is
// subgroup-matrix-text.ts's; here is what it asks of a device and of operands, its tunings and the estimate of time.
// Wins from a few hundred queries and keys on, where WebGPU exposes matrix units (Dawn in Node; no stable browser yet).
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Kernel, Operand, Request, Variant } from '../family.ts'
import { matrixEnables } from '../matmul/matrix-text.ts'
import { deviceHasMatrices } from '../matmul/matrix-variant.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { attentionProblem } from './problem.ts'
import {
  type AttentionTile,
  matrixAttentionMain,
  paddedWidth,
  threadsOf,
  tileQueries,
  workgroupBytes,
} from './subgroup-matrix-text.ts'

const names = ['q', 'k', 'v']
const widest = 160

function emit(request: Request<AttentionAttrs>, params: AttentionTile): Kernel {
  const problem = attentionProblem(request)
  const blocks = Math.ceil(problem.queries / tileQueries(params))
  const grid = splitGrid(problem.n * problem.heads * blocks, request.capabilities.limits)
  const io = ioText(requestOperands(request, names).map((o) => (o.role.kind === 'input' ? { ...o, wide: true } : o)))
  const [q, k, v] = request.inputs as [Operand, Operand, Operand]
  const eight = (name: string, { offset4, stride4 }: Operand) => ({
    ...{ variable: io.variable[name]!, offset: offset4 / 2, stride: stride4 / 2 },
  })
  const wgsl = `${io.enables}${matrixEnables}${io.text}
${epilogueText(request)}
${matrixAttentionMain(params, { ...problem, ...request.attrs, grid, q: eight('q', q), k: eight('k', k), v: eight('v', v) })}`
  return {
    dispatches: [{ label: 'attention.subgroupMatrix', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

/** 32-bit registers of a lane: sums, queries, logits of a tile, the next tile under way, indices. */
function registersOf({ subgroups, rows, keys }: AttentionTile, width: number): number {
  const fragments = (rows / 16) * (paddedWidth(width) / 16)
  return 12 * fragments + (rows * keys) / 32 + (keys * width) / 4 / (4 * subgroups) + 48
}

// An H100: 132 multiprocessors at about 1.7 GHz, each 2048 f16 operations of `mma` and 128 bytes of workgroup memory a clock.
const multiprocessors = 132
const flopsPerNs = 3480
const bytesPerNs = 218
const nsPerLogit = 0.046 // exp2, scale, maximum, sum, conversion
const nsPerSubgroup = 15 // barriers of a tile: the more subgroups, the longer all wait
const efficiency = 0.6
const workgroupMemory = 200 * 1024
const registerFile = 65536

/** Nanoseconds on an H100 if a multiprocessor worked off one workgroup after another without waiting. */
function workgroupNs(request: Request<AttentionAttrs>, params: AttentionTile): number {
  const { queries, keys, width } = attentionProblem(request)
  const { subgroups, rows } = params
  const padded = paddedWidth(width)
  // Causal: a block ends at its last query, on average half way.
  const seen = request.attrs.causal ? Math.min(keys, (queries + tileQueries(params)) / 2) : keys
  const logits = subgroups * rows * params.keys
  const bytes = 12 * logits + 4 * params.keys * (subgroups * padded + width)
  const tile = (4 * logits * padded) / flopsPerNs + bytes / bytesPerNs + logits * nsPerLogit + subgroups * nsPerSubgroup
  return (Math.ceil(seen / params.keys) * tile) / efficiency
}

export const subgroupMatrixAttention: Variant<AttentionAttrs, AttentionTile> = {
  name: 'subgroup-matrix',
  tunings: {
    software: [],
    // Never fewer than four subgroups: with one or two the sums were wrong on an H100 (driver 580.159), whatever the case.
    gpu: [
      { subgroups: 4, rows: 16, keys: 32 },
      { subgroups: 4, rows: 16, keys: 48 },
      { subgroups: 4, rows: 16, keys: 64 },
      { subgroups: 4, rows: 32, keys: 32 },
      { subgroups: 8, rows: 16, keys: 16 },
      { subgroups: 8, rows: 16, keys: 32 },
    ],
  },
  supports: (request, params) => {
    const { capabilities, inputs, output } = request
    const { limits } = capabilities
    const { width } = attentionProblem(request)
    const threads = threadsOf(params)
    return (
      deviceHasMatrices(capabilities) &&
      capabilities.subgroups &&
      bindable(request) &&
      width % 8 === 0 &&
      width <= widest &&
      inputs.every(
        ({ storage, stride4, offset4, slot }) =>
          storage === 'f16' && stride4 % 2 === 0 && offset4 % 2 === 0 && slot !== output.slot,
      ) &&
      threads <= limits.maxComputeInvocationsPerWorkgroup &&
      threads <= limits.maxComputeWorkgroupSizeX &&
      workgroupBytes(params, width) <= limits.maxComputeWorkgroupStorageSize
    )
  },
  cost(request, params) {
    const { n, heads, queries, width } = attentionProblem(request)
    const threads = threadsOf(params)
    const registers = registersOf(params, width)
    const resident = Math.max(
      1,
      Math.min(
        Math.floor(workgroupMemory / workgroupBytes(params, width)),
        Math.floor(registerFile / (threads * Math.min(registers, 255))),
      ),
    )
    const workgroups = n * heads * Math.ceil(queries / tileQueries(params))
    const alone = workgroupNs(request, params) * (registers > 255 ? 4 : 1)
    // Waits (barriers, loads) are hidden by others' work from about 16 subgroups a multiprocessor on.
    const ns = (count: number) => count * alone * Math.max(1, 16 / (count * params.subgroups)) ** 0.6
    const full = Math.floor(workgroups / (multiprocessors * resident))
    const rest = Math.ceil((workgroups % (multiprocessors * resident)) / multiprocessors)
    return 3000 + full * ns(resident) + (rest === 0 ? 0 : ns(rest))
  },
  emit,
  // Of the scale in problem.ts. f16: one store (a whole ulp, as rounding may go either way) and weights rounded to f16, each
  // by half an ulp, in the sum over values and in their own sum. Logits, scale and all sums are f32. An output in f32 shows
  // the weights' rounding, 2^-10 in all.
  tolerance: { f32: 2 ** 13, f16: 2 },
}
