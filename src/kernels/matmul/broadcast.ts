// The product on CPUs: the lanes of a subgroup share their loads of a.
//   for each tile of rows × groups (one a subgroup; each lane has its own columns):
//     for k in steps of 4: each lane loads a vec4 of its own row of a and 4 · groups × vec4 of b (along n)
//       for each row: its vec4 broadcast from the lane that has it; 4 · groups multiply-adds
//     bias, gate, epilogue, store
// A load is a scalar access for each lane and component there, whoever needs it: `direct` makes as many for a as for rows. One
// tile for all shapes, so that few texts are compiled. Takes packed b and b in rows along n; `direct` takes the rest.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { sizeText as size } from '../wgsl/number.ts'
import { type BroadcastParams, broadcasts, range, stepText, sumName, turnsText } from './broadcast-text.ts'
import { estimate } from './cost.ts'
import { normLoads, normText } from './norm.ts'
import { prepareMatmul } from './pack.ts'
import { matmulText, problemOf, supportedAtAll } from './problem.ts'

/** Whether a subgroup can share this product's loads. */
export function broadcastsProduct(request: Request<MatmulAttrs>): boolean {
  return (
    broadcasts(request.capabilities) &&
    supportedAtAll(request) &&
    !request.attrs.transposeA &&
    problemOf(request).b !== 'nk'
  )
}

export const broadcastMatmul: Variant<MatmulAttrs, BroadcastParams> = {
  name: 'broadcast',
  tunings: {
    // Two cores, 3×3 convolutions and products of the starter, GFLOP/s and seconds to compile. SwiftShader: 6.5 and 0.2 (`direct`
    // 6.1), 5.2 and 0.1. lavapipe: 30 and 0.3 (`direct` 14); twice the rows 33 and 0.4, twice the columns 24 and 0.5.
    software: [
      { rowsPerLane: 4, groups: 2 },
      { rowsPerLane: 4, groups: 1 },
    ],
    lavapipe: [{ rowsPerLane: 1, groups: 1 }],
    gpu: [],
  },
  supports: (request, { rowsPerLane, groups }) =>
    broadcastsProduct(request) && rowsPerLane * groups * problemOf(request).halves <= 8, // longer texts compile for seconds
  cost(request, { rowsPerLane, groups }) {
    const { batches, m, n4, k4, halves } = problemOf(request)
    const lanes = request.capabilities.subgroupSize[0]
    const rows = rowsPerLane * lanes
    return estimate(request.capabilities.kind, {
      workgroups: batches * Math.ceil(m / rows) * Math.ceil(n4 / (groups * lanes)),
      invocations: lanes,
      steps: k4,
      loads: rowsPerLane + 4 * groups * halves + normLoads(request),
      products: 4 * rows * groups * halves,
      staged: false,
    })
  },
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit: emitBroadcast,
  // As for `direct`: the same sums in the same order.
  tolerance: { f32: 32, f16: 2 },
}

function emitBroadcast(request: Request<MatmulAttrs>, { rowsPerLane, groups }: BroadcastParams): Kernel {
  const { m, n4, k, k4, halves, batches, b, bBatched } = problemOf(request)
  const { limits, subgroupSize } = request.capabilities
  const lanes = subgroupSize[0]
  const rows = rowsPerLane * lanes
  const tilesN = Math.ceil(n4 / (groups * lanes))
  const tilesM = Math.ceil(m / rows)
  const tiles = tilesN * tilesM * batches
  const grid = splitGrid(tiles, limits)
  const [strideA, strideB] = [request.inputs[0]!.stride4, b === 'packed' ? halves * n4 : request.inputs[1]!.stride4]
  const { io, text } = matmulText(request)
  const columns = halves * groups
  const norm = normText(request)
  const rowOf = (q: number) => `batch * ${size(m)} + min(r0 + ${q * lanes}u + lane, ${size(m - 1)})`
  const loadA = (q: number) => (norm ? norm.value(q, `at_a(p${q} + t)`) : `at_a(p${q} + t)`)
  const results = range(rows).flatMap((r) =>
    range(groups).flatMap((g) => range(halves).map((half) => sumName(r, half * groups + g))),
  )
  // Rows of b beyond k are another's, where b is not padded.
  const row = (j: number) => (b === 'kn' && k % 4 !== 0 ? `min(t * 4u + ${j}u, ${size(k - 1)})` : `(t * 4u + ${j}u)`)
  const loadB = (j: number, h: number) => {
    const half = h < groups ? '' : `${size(n4)} + `
    return `at_b(firstB + ${row(j)} * ${size(strideB)} + ${half}h${h % groups})`
  }
  const wgsl = `${io.enables}enable subgroups;
${io.text}
${text}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = ${grid.index};
  if (tile >= ${size(tiles)}) { return; }
  let batch = tile / ${size(tilesN * tilesM)};
  let r0 = tile / ${size(tilesN)} % ${size(tilesM)} * ${rows}u;
  let g0 = tile % ${size(tilesN)} * ${groups * lanes}u + lane;
  ${range(groups)
    .map((g) => `let h${g} = min(g0 + ${g * lanes}u, ${size(n4 - 1)});`)
    .join('\n  ')}
  ${range(rowsPerLane)
    .map((q) => `let p${q} = (${rowOf(q)}) * ${size(strideA)};${norm ? `\n  ${norm.row(q, rowOf(q))}` : ''}`)
    .join('\n  ')}
  let firstB = batch * ${size(bBatched ? k * strideB : 0)};
  ${results.map((s) => `var ${s} = vec4<f32>();`).join('\n  ')}
  for (var t = 0u; t < ${size(k4)}; t++) {
    ${[...(norm ? [norm.channels('t')] : []), ...stepText(lanes, { rowsPerLane, columns }, loadA, loadB)].join('\n    ')}
  }
  ${turnsText(
    results,
    halves,
    (i) => `let row = r0 + ${i} / ${groups}u;
    let group = g0 + ${i} % ${groups}u * ${lanes}u;
    if (row < ${size(m)} && group < ${size(n4)}) { finish(batch * ${size(m)} + row, group, ${results.slice(0, halves).join(', ')}); }`,
  )}
}
`
  return {
    dispatches: [{ label: 'matmul broadcast', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
