// The product for a few rows (time embeddings: one), where reading b is all the work:
//   for each `lanesN` groups of four columns, one workgroup; for each `rows` rows:
//     each of lanesK slices of the workgroup takes every lanesK-th four of k: four vec4s of b serve all rows
//     partial sums of the slices → workgroup memory; barrier; an invocation a row's group adds them up
//     bias, gate, epilogue, store
// For GPUs and b that lies along columns. Loses as soon as rows would rather share b in tiles.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { elementBytes } from '../wgsl/io.ts'
import { estimate } from './cost.ts'
import { normLoads, normText } from './norm.ts'
import { prepareMatmul } from './pack.ts'
import { matmulText, problemOf, supportedAtAll } from './problem.ts'

export interface FewRowsParams {
  /** Rows that an invocation computes, a group of four columns of each. */
  readonly rows: number
  /** Groups of a workgroup, and slices of k. */
  readonly lanesN: number
  readonly lanesK: number
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

export const fewRowsMatmul: Variant<MatmulAttrs, FewRowsParams> = {
  name: 'few-rows',
  tunings: {
    software: [],
    gpu: [
      { rows: 1, lanesN: 8, lanesK: 32 },
      { rows: 1, lanesN: 4, lanesK: 64 },
      { rows: 2, lanesN: 8, lanesK: 32 },
      { rows: 2, lanesN: 4, lanesK: 64 },
      { rows: 4, lanesN: 8, lanesK: 32 },
      { rows: 4, lanesN: 4, lanesK: 32 },
    ],
  },
  supports(request, { rows, lanesN, lanesK }) {
    const { batches, b, halves, m } = problemOf(request)
    const { limits } = request.capabilities
    return (
      supportedAtAll(request) &&
      !request.attrs.transposeA &&
      batches === 1 &&
      b !== 'nk' &&
      m <= 4 * rows &&
      lanesN * lanesK <= limits.maxComputeInvocationsPerWorkgroup &&
      lanesN * lanesK * rows * halves * 16 <= limits.maxComputeWorkgroupStorageSize
    )
  },
  cost(request, { rows, lanesN, lanesK }) {
    const { m, n4, k4, halves } = problemOf(request)
    const { capabilities, inputs } = request
    const workgroups = Math.ceil(m / rows) * Math.ceil(n4 / lanesN)
    const steps = Math.ceil(k4 / lanesK)
    if (capabilities.kind === 'software') {
      return estimate(capabilities.kind, {
        ...{ workgroups, steps, invocations: lanesN * lanesK, staged: true },
        ...{ loads: rows + 4 * halves + normLoads(request), products: 4 * rows * halves },
      })
    }
    // On an H100: bytes that pass through the caches, by what so many workgroups have under way; then their sums.
    const bytes = workgroups * lanesN * k4 * 4 * halves * elementBytes[inputs[1]!.storage]
    return 4500 + bytes / Math.min(2000, 20 * workgroups) + lanesK * rows * 4
  },
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit,
  // As `direct`; the slices' sums are shorter.
  tolerance: { f32: 32, f16: 2 },
}

function emit(request: Request<MatmulAttrs>, { rows, lanesN, lanesK }: FewRowsParams): Kernel {
  const { m, n4, k, k4, b, halves } = problemOf(request)
  const [tilesN, tilesM] = [Math.ceil(n4 / lanesN), Math.ceil(m / rows)]
  const grid = splitGrid(tilesN * tilesM, request.capabilities.limits)
  const { io, text } = matmulText(request)
  const [aStride, bStride] = [request.inputs[0]!.stride4, request.inputs[1]!.stride4]
  const rowStride = b === 'packed' ? halves * n4 : bStride
  const row = (j: number) => (b === 'kn' && k % 4 !== 0 ? `min(kg * 4u + ${j}u, ${k - 1}u)` : `(kg * 4u + ${j}u)`)
  const clamped = (r: number) => (m % rows === 0 ? `row0 + ${r}u` : `min(row0 + ${r}u, ${m - 1}u)`)
  const sums = range(rows).flatMap((r) => range(halves).map((half) => `s${r}_${half}`))
  const results = rows * lanesN
  const norm = normText(request)
  const element = (r: number) => `at_a((${clamped(r)}) * ${aStride}u + kg)`
  const slot = lanesN * lanesK
  const wgsl = `${io.enables}${io.text}
${text}
var<workgroup> partials: array<vec4<f32>, ${sums.length * slot}>;
@compute @workgroup_size(${lanesN * lanesK})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let tile = ${grid.index};
  ${grid.overshoots ? `if (tile >= ${tilesN * tilesM}u) { return; }` : ''}
  let row0 = tile / ${tilesN}u * ${rows}u;
  let group0 = tile % ${tilesN}u * ${lanesN}u;
  let group = min(group0 + li % ${lanesN}u, ${n4 - 1}u);
  let slice = li / ${lanesN}u;
  ${[...(norm ? range(rows).map((r) => norm.row(r, clamped(r))) : []), ...sums.map((s) => `var ${s} = vec4<f32>();`)].join('\n  ')}
  for (var t = 0u; t < ${Math.ceil(k4 / lanesK)}u; t++) {
    let kg = t * ${lanesK}u + slice;
    if (kg < ${k4}u) {
      ${range(4)
        .flatMap((j) =>
          range(halves).map((half) => `let b${j}_${half} = at_b(${row(j)} * ${rowStride}u + ${half * n4}u + group);`),
        )
        .join('\n      ')}
      ${norm ? `${norm.channels('kg')}\n      ` : ''}${range(rows)
        .flatMap((r) => [
          `let a${r} = ${norm ? norm.value(r, element(r)) : element(r)};`,
          ...range(halves).map(
            (half) =>
              `s${r}_${half} += ${range(4)
                .map((j) => `a${r}.${lane[j]} * b${j}_${half}`)
                .join(' + ')};`,
          ),
        ])
        .join('\n      ')}
    }
  }
  ${sums.map((s, i) => `partials[${i * slot}u + li] = ${s};`).join('\n  ')}
  workgroupBarrier();
  for (var i = 0u; i < ${Math.ceil(results / slot)}u; i++) {
    let place = i * ${slot}u + li;
    let r = place / ${lanesN}u;
    let row = row0 + r;
    let column = group0 + place % ${lanesN}u;
    if (r < ${rows}u && row < ${m}u && column < ${n4}u) {
      ${range(halves)
        .map((half) => `var v${half} = vec4<f32>();`)
        .join('\n      ')}
      for (var s = 0u; s < ${lanesK}u; s++) {
        ${range(halves)
          .map(
            (half) =>
              `v${half} += partials[(r * ${halves}u + ${half}u) * ${slot}u + s * ${lanesN}u + place % ${lanesN}u];`,
          )
          .join('\n        ')}
      }
      finish(row, column, ${range(halves)
        .map((half) => `v${half}`)
        .join(', ')});
    }
  }
}
`
  return {
    dispatches: [{ label: 'matmul few-rows', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
