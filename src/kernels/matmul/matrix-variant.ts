// What `matmul` and `conv2d` on matrix units have in common around the loop nest of matrix-text.ts: tunings, what they ask of
// a device, the estimate of time, and how their partial sums lie.
import { isQuantised } from '../../tensor/quantise.ts'
import type { Capabilities, Request } from '../family.ts'
import { inWaves, multiprocessors, sumNs } from './cost.ts'
import { type MatrixParams, type MatrixProduct, matrixTiles, threadsOf, workgroupBytes } from './matrix-text.ts'
import { type PartialSums, partialBytes } from './splits.ts'

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

/** a and b in f16, or b quantised (every value of it is a half), evenly laid, in memory of their own. */
export function operandsAreWide<A>(request: Request<A>): boolean {
  const [a, b] = request.inputs
  return (
    a!.storage === 'f16' &&
    (b!.storage === 'f16' || isQuantised(b!.storage)) &&
    b!.space === 'weight' &&
    a!.channels % 8 === 0 &&
    a!.stride4 % 2 === 0 &&
    a!.offset4 % 2 === 0 &&
    request.output.slot !== a!.slot
  )
}

const workgroupMemory = 200 * 1024
const registers = 65536

/** Nanoseconds on an H100. */
export function matrixCost(params: MatrixParams, sizes: Pick<MatrixProduct, 'm' | 'n' | 'k' | 'halves'>): number {
  const { tileM, tileN, splits, subM, subN, rate } = params
  const perThread = (subM * subN) / 32 + 80
  const resident = Math.min(
    Math.floor(workgroupMemory / workgroupBytes(params)),
    Math.floor(registers / (threadsOf(params) * perThread)),
  )
  const flops = (2 * tileM * tileN * sizes.k) / splits
  return (
    inWaves({
      workgroups: matrixTiles(params, sizes).workgroups,
      resident: Math.max(1, resident),
      alone: flops / ((rate * 1000) / multiprocessors),
    }) + sumNs(splits, partialBytes(matrixSums(params, sizes)))
  )
}

/** The splits' partial results, whole tiles with their edges. */
export function matrixSums(params: MatrixParams, sizes: Pick<MatrixProduct, 'm' | 'n' | 'halves'>): PartialSums {
  const { tilesM, tilesN } = matrixTiles(params, sizes)
  const rowStride = (tilesN * params.tileN) / 4
  return {
    ...{ splits: params.splits, rows: sizes.m, n4: sizes.n / 4, halves: sizes.halves },
    ...{ rowStride, splitStride: tilesM * params.tileM * rowStride },
  }
}
