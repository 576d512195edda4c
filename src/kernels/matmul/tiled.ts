// The product through workgroup memory (loop nest: tiled-text.ts), for GPUs: each value of a and b is read from memory once a
// tile. On CPU adapters its barriers cost ten times the compile time and gain nothing. Does not take a transposed a.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { estimate } from './cost.ts'
import { prepareMatmul } from './pack.ts'
import { matmulText, type Problem, problemOf, supportedAtAll } from './problem.ts'
import { type TiledParams, tileCounts, tiledMain, tiledTunings, tiledWork, tileFits } from './tiled-text.ts'

export const tiledMatmul: Variant<MatmulAttrs, TiledParams> = {
  name: 'tiled',
  tunings: tiledTunings,
  supports(request, params) {
    const { halves } = problemOf(request)
    return (
      supportedAtAll(request) &&
      !request.attrs.transposeA &&
      // Sixteen accumulators of vec4 are what registers hold without spilling.
      params.rows * params.groups * halves <= 16 &&
      tileFits(params, halves, request.capabilities.limits)
    )
  },
  cost: (request, params) => estimate(request.capabilities.kind, tiledWork(params, problemOf(request))),
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit: emitTiled,
  // The sums of `direct` in the same order.
  tolerance: { f32: 32, f16: 2 },
}

/** `tileA` and `tileB` of a product, for every form of b. */
export function productLoads(problem: Problem, request: Request<MatmulAttrs>): string {
  const { m, n, n4, k, b, halves, batches, bBatched } = problem
  const [aStride, bStride] = [request.inputs[0]!.stride4, request.inputs[1]!.stride4]
  const aRow = batches > 1 ? `(batch * ${m}u + row)` : 'row'
  const bRow = (row: string, rows: number) => (bBatched ? `(batch * ${rows}u + ${row})` : row)
  const last = k % 4 === 0 ? 'k' : `min(k, ${k - 1}u)`
  const column = (c: number) => `min(group * 4u + ${c}u, ${n - 1}u)${halves === 2 ? ` + half * ${n}u` : ''}`
  const values = {
    packed: `return at_b(k * ${halves * n4}u + half * ${n4}u + group);`,
    kn: `return at_b(${bRow(last, k)} * ${bStride}u + half * ${n4}u + group);`,
    nk: `return vec4<f32>(${[0, 1, 2, 3]
      .map((c) => `at_b((${bRow(column(c), halves * n)}) * ${bStride}u + k / 4u)[k % 4u]`)
      .join(', ')});`,
  }
  return `fn tileA(batch: u32, row: u32, kg: u32) -> vec4<f32> { return at_a(${aRow} * ${aStride}u + kg); }
fn tileB(batch: u32, half: u32, k: u32, group: u32) -> vec4<f32> { ${values[b]} }`
}

function emitTiled(request: Request<MatmulAttrs>, params: TiledParams): Kernel {
  const problem = problemOf(request)
  const grid = splitGrid(tileCounts(params, problem).workgroups, request.capabilities.limits)
  const { io, text } = matmulText(request)
  const wgsl = `${io.enables}${io.text}
${text}
${tiledMain(params, { ...problem, grid, loads: productLoads(problem, request) })}`
  return {
    dispatches: [{ label: 'matmul tiled', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
