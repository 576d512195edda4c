// What `matmul` and `conv2d` on matrix units have in common around the loop nest of matrix-text.ts: tunings, what they ask of
// a device, the estimate of time, and the second pass that sums the splits of k.
import type { Capabilities, Dispatch, Request } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, requestOperands } from '../wgsl/io.ts'
import {
  type MatrixParams,
  type MatrixProduct,
  matrixTiles,
  partialFloats,
  threadsOf,
  workgroupBytes,
} from './matrix-text.ts'

const tile = (tileM: number, tileN: number, tileK: number, subM: number, subN: number, rate: number) => ({
  ...{ tileM, tileN, tileK, subM, subN, rate },
})

/** By rate on an H100 (4096³ and SD 1.5's convolutions). 160 columns divide SD's 320, 640 and 1280 without waste. */
const tiles = [
  tile(256, 128, 32, 64, 64, 190),
  tile(128, 256, 32, 64, 64, 190),
  tile(128, 128, 32, 64, 64, 180),
  tile(128, 128, 32, 64, 32, 165),
  tile(128, 64, 32, 64, 32, 135),
  tile(128, 160, 32, 64, 80, 190),
  tile(64, 160, 32, 32, 80, 170),
  tile(128, 64, 64, 32, 32, 150),
  tile(64, 64, 32, 32, 32, 95),
  tile(64, 64, 64, 32, 32, 95),
]

export const matrixTunings: readonly MatrixParams[] = tiles.flatMap((row) =>
  [1, 2, 3, 4, 6, 8].map((splits) => ({ ...row, splits })),
)

/** f16 in, f32 out, 16×16×16, subgroups of 32, and memory laid so that 128 bits can be loaded at once. */
export function deviceHasMatrices({ shaderF16, subgroupSize, matrixShapes }: Capabilities): boolean {
  const [smallest, largest] = subgroupSize
  return (
    shaderF16 &&
    smallest === 32 &&
    largest === 32 &&
    matrixShapes.some(({ m, n, k, result }) => m === 16 && n === 16 && k === 16 && result === 'f32')
  )
}

/** a and b in f16, evenly laid, in memory of their own. */
export function operandsAreWide<A>(request: Request<A>): boolean {
  const [a, b] = request.inputs
  return (
    a!.storage === 'f16' &&
    b!.storage === 'f16' &&
    b!.space === 'weight' &&
    a!.channels % 8 === 0 &&
    a!.stride4 % 2 === 0 &&
    a!.offset4 % 2 === 0 &&
    request.output.slot !== a!.slot
  )
}

const multiprocessors = 132
const workgroupMemory = 200 * 1024
const registers = 65536

/** Nanoseconds on an H100: full waves at the tile's rate, a last one that leaves multiprocessors idle. */
export function matrixCost(params: MatrixParams, sizes: Pick<MatrixProduct, 'm' | 'n' | 'k' | 'halves'>): number {
  const { tileM, tileN, splits, subM, subN, rate } = params
  const { workgroups } = matrixTiles(params, sizes)
  const threads = threadsOf(params)
  const perThread = (subM * subN) / 32 + 80
  const resident = Math.max(
    1,
    Math.min(Math.floor(workgroupMemory / workgroupBytes(params)), Math.floor(registers / (threads * perThread))),
  )
  const flops = (2 * tileM * tileN * sizes.k) / splits
  const alone = flops / ((rate * 1000) / multiprocessors) // ns of one workgroup if a multiprocessor ran only it at full rate
  const perWave = multiprocessors * resident
  const full = Math.floor(workgroups / perWave)
  const rest = Math.ceil((workgroups % perWave) / multiprocessors)
  // Fewer workgroups than a multiprocessor can hold hide less of each other's waiting.
  const last = rest === 0 ? 0 : rest * alone * (resident / rest) ** 0.45
  const sum = splits === 1 ? 0 : 3000 + (partialFloats(params, sizes) * 4 * (splits + 1)) / 2000
  return 3000 + full * resident * alone + last + sum
}

/** Sums the splits' partial results: one invocation a row's group of four, then bias, epilogue, store. */
export function sumSplits<A>(
  request: Request<A>,
  names: readonly string[],
  finishText: string,
  params: MatrixParams,
  sizes: Pick<MatrixProduct, 'm' | 'n' | 'halves'>,
): Dispatch {
  const lanes = 256
  const { tilesM, tilesN } = matrixTiles(params, sizes)
  const wide4 = (tilesN * params.tileN) / 4
  const perSplit = tilesM * params.tileM * wide4
  const n4 = sizes.n / 4
  const count = Math.ceil((sizes.m * n4) / lanes)
  const grid = splitGrid(count, request.capabilities.limits)
  const operands = requestOperands(request, names).filter(({ role }) => role.kind !== 'input' || role.index >= 2)
  const io = ioText(operands, [{ name: 'partial_', index: 0, element: 'vec4<f32>' }])
  const terms = Array.from({ length: params.splits }, (_, s) => `partial_[${s * perSplit}u + at]`)
  const wgsl = `${io.enables}${io.text}
${finishText}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let i = ${grid.index} * ${lanes}u + li;
  if (i >= ${sizes.m * n4}u) { return; }
  let row = i / ${n4}u;
  let group = i % ${n4}u;
  let at = row * ${wide4}u + group;
  finish(row, group, ${terms.join(' + ')});
}
`
  return { label: 'sum of splits', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}
