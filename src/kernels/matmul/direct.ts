// The product without workgroup memory: each invocation holds `rows` × `groups` · 4 results in registers.
//   for each tile of rows × groups (one an invocation):
//     for k in steps of 4: load rows × vec4 of a (along k), 4 · groups × vec4 of b (along n); 16 · rows · groups multiply-adds
//     bias, gate, epilogue, store
// Right where barriers are dear (CPU adapters) and for few rows; on GPUs it leans on the caches, so `tiled` passes it for large
// products. The only variant that takes every form of a and b.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { sizeText as size } from '../wgsl/number.ts'
import { broadcastsProduct } from './broadcast.ts'
import { estimate } from './cost.ts'
import { normLoads, normText } from './norm.ts'
import { prepareMatmul } from './pack.ts'
import { matmulText, type Problem, problemOf, supportedAtAll } from './problem.ts'

export interface DirectParams {
  /** Rows and groups of four columns that an invocation computes. */
  readonly rows: number
  readonly groups: number
  /** Invocations of a workgroup along columns and along rows. */
  readonly lanesN: number
  readonly lanesM: number
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

export const directMatmul: Variant<MatmulAttrs, DirectParams> = {
  name: 'direct',
  tunings: {
    software: [
      // SwiftShader, two cores: 4.0, 3.1 and 2.6 GFLOP/s on 512³ and on the starter's shapes; 0.16, 0.08, 0.04 s to compile.
      { rows: 8, groups: 4, lanesN: 2, lanesM: 8 },
      { rows: 8, groups: 2, lanesN: 4, lanesM: 4 },
      { rows: 4, groups: 2, lanesN: 4, lanesM: 4 },
      { rows: 2, groups: 4, lanesN: 8, lanesM: 1 },
      { rows: 1, groups: 4, lanesN: 8, lanesM: 1 },
    ],
    lavapipe: [{ rows: 4, groups: 1, lanesN: 8, lanesM: 2 }],
    gpu: [
      { rows: 8, groups: 2, lanesN: 8, lanesM: 8 },
      { rows: 4, groups: 1, lanesN: 16, lanesM: 8 },
      { rows: 2, groups: 1, lanesN: 32, lanesM: 2 },
      { rows: 1, groups: 1, lanesN: 32, lanesM: 1 },
    ],
  },
  supports: (request, params) =>
    supportedAtAll(request) &&
    params.lanesN * params.lanesM <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup &&
    // Two halves double the accumulators; a transposed a is loaded four rows at a time.
    (!request.attrs.gate || params.rows * params.groups <= (request.capabilities.kind === 'software' ? 16 : 8)) &&
    (!request.attrs.transposeA || params.rows % 4 === 0),
  cost(request, { rows, groups, lanesN, lanesM }) {
    const { batches, m, n4, k4, halves } = problemOf(request)
    const columns = groups * halves
    // One text for all products is worth more than the tile that fits each best.
    const texts = broadcastsProduct(request) ? 4 : 1
    return (
      texts *
      estimate(request.capabilities.kind, {
        workgroups: batches * Math.ceil(m / (rows * lanesM)) * Math.ceil(n4 / (groups * lanesN)),
        invocations: lanesN * lanesM,
        steps: k4,
        loads: rows + 4 * columns + normLoads(request),
        products: 4 * rows * columns,
        staged: false,
      })
    )
  },
  prepare: (request, _params, index) => prepareMatmul(request, index),
  emit: emitDirect,
  // Products of length k in f32, terms in order: relative error ≤ k · eps of Σ|terms| in theory, about √k in practice; the
  // longest sums here (k = 11520) reach 20 eps. In f16 storage the rounding of operands and result comes first: 1 ulp each.
  tolerance: { f32: 32, f16: 2 },
}

/** How a k-step loads b: `lines` declare what `term` multiplies with row r's vec4 `a{r}`. */
function bText(problem: Problem, request: Request<MatmulAttrs>, groups: number) {
  const { n, n4, k, k4, b, halves, bBatched } = problem
  const { stride4 } = request.inputs[1]!
  const batch = bBatched ? 'batch' : '0u'
  if (b === 'nk') {
    const offsets = range(halves * groups).flatMap((h) => {
      const [half, g] = [Math.floor(h / groups), h % groups]
      return range(4).map(
        (c) =>
          `let q${h}_${c} = (${batch} * ${size(halves * n)} + ${size(half * n)} + min(h${g} * 4u + ${c}u, ${size(n - 1)})) * ${size(stride4)};`,
      )
    })
    const step = (h: number) => `mat4x4<f32>(${range(4).map((c) => `at_b(q${h}_${c} + t)`)})`
    return {
      offsets,
      step: (rows: number) =>
        range(halves * groups).flatMap((h) => [
          `let m${h} = ${step(h)};`,
          ...range(rows).map((r) => `s${r}_${h} += a${r} * m${h};`),
        ]),
    }
  }
  const rowStride = b === 'packed' ? halves * n4 : stride4
  const first = bBatched ? [`let q = batch * ${size(k * stride4)};`] : []
  const clamped = b === 'kn' && k % 4 !== 0
  const row = (j: number) => (clamped ? `min(t * 4u + ${j}u, ${size(k - 1)})` : `(t * 4u + ${j}u)`)
  return {
    offsets: first,
    step: (rows: number) =>
      range(4).flatMap((j) => [
        `let k${j} = ${bBatched ? 'q + ' : ''}${row(j)} * ${size(rowStride)};`,
        ...range(halves * groups).flatMap((h) => {
          const [half, g] = [Math.floor(h / groups), h % groups]
          return [
            `let b${j}_${h} = at_b(k${j} + ${half === 0 ? '' : `${size(half * n4)} + `}h${g});`,
            ...range(rows).map((r) => `s${r}_${h} += a${r}.${lane[j]} * b${j}_${h};`),
          ]
        }),
      ]),
    k4,
  }
}

/** How a k-step loads a: `a0 … a{rows−1}`, each a row's vec4 along k. */
function aText(problem: Problem, request: Request<MatmulAttrs>, rows: number) {
  const { m, k, batches } = problem
  const { stride4, groups4 } = request.inputs[0]!
  const batch = (rows: number) => (batches > 1 ? `batch * ${size(rows)} + ` : '')
  if (!request.attrs.transposeA) {
    const clamp = (r: number) => (m % rows === 0 ? `r0 + ${r}u` : `min(r0 + ${r}u, ${size(m - 1)})`)
    const norm = normText(request)
    const element = (r: number) => `at_a(p${r} + t)`
    return {
      offsets: range(rows).flatMap((r) => [
        `let p${r} = (${batch(m)}${clamp(r)}) * ${size(stride4)};`,
        ...(norm ? [norm.row(r, `${batch(m)}${clamp(r)}`)] : []),
      ]),
      step: [
        ...(norm ? [norm.channels('t')] : []),
        ...range(rows).map((r) => `let a${r} = ${norm ? norm.value(r, element(r)) : element(r)};`),
      ],
    }
  }
  const quads = rows / 4
  // Beyond k the rows of a are another batch's, not zeros.
  const value = (j: number, q: number) =>
    `at_a((${batch(k)}min(t * 4u + ${j}u, ${size(k - 1)})) * ${size(stride4)} + p${q})`
  const masked = (j: number, q: number) =>
    k % 4 === 0 ? value(j, q) : `select(vec4<f32>(), ${value(j, q)}, t * 4u + ${j}u < ${size(k)})`
  return {
    offsets: range(quads).map((q) => `let p${q} = min(r0 / 4u + ${q}u, ${size(groups4 - 1)});`),
    step: [
      ...range(quads).flatMap((q) => range(4).map((j) => `let c${q}_${j} = ${masked(j, q)};`)),
      ...range(rows).map((r) => {
        const q = Math.floor(r / 4)
        return `let a${r} = vec4<f32>(${range(4).map((j) => `c${q}_${j}.${lane[r % 4]}`)});`
      }),
    ],
  }
}

function emitDirect(request: Request<MatmulAttrs>, { rows, groups, lanesN, lanesM }: DirectParams): Kernel {
  const problem = problemOf(request)
  const { m, n4, k4, halves, batches } = problem
  const tilesN = Math.ceil(n4 / (groups * lanesN))
  const tilesM = Math.ceil(m / (rows * lanesM))
  const grid = splitGrid(tilesN * tilesM * batches, request.capabilities.limits)
  const { io, text } = matmulText(request)
  const a = aText(problem, request, rows)
  const b = bText(problem, request, groups)
  const wholeN = n4 % (groups * lanesN) === 0
  const sums = range(rows).flatMap((r) => range(halves * groups).map((h) => `var s${r}_${h} = vec4<f32>();`))
  const results = range(rows).flatMap((r) =>
    range(groups).flatMap((g) => range(halves).map((half) => `s${r}_${half * groups + g}`)),
  )
  const wgsl = `${io.enables}${io.text}
${text}
@compute @workgroup_size(${lanesN}, ${lanesM})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let tile = ${grid.index};
  let batch = tile / ${size(tilesN * tilesM)};
  let r0 = (tile / ${size(tilesN)} % ${size(tilesM)} * ${lanesM}u + lid.y) * ${rows}u;
  if (r0 >= ${size(m)}${grid.overshoots ? ` || batch >= ${size(batches)}` : ''}) { return; }
  let g0 = tile % ${size(tilesN)} * ${groups * lanesN}u + lid.x;
  ${range(groups - 1)
    .map((g) => `let g${g + 1} = g0 + ${(g + 1) * lanesN}u;`)
    .join('\n  ')}
  ${range(groups)
    .map((g) => `let h${g} = ${wholeN ? `g${g}` : `min(g${g}, ${size(n4 - 1)})`};`)
    .join('\n  ')}
  ${[...a.offsets, ...b.offsets, ...sums].join('\n  ')}
  for (var t = 0u; t < ${size(k4)}; t++) {
    ${[...a.step, ...b.step(rows)].join('\n    ')}
  }
  // The results take turns: copies of the epilogue would take longer to compile than all the rest.
  for (var i = 0u; i < ${size(rows * groups)}; i++) {
    let row = r0 + i / ${groups}u;
    let group = g0 + i % ${groups}u * ${lanesN}u;
    if (row < ${size(m)} && group < ${size(n4)}) { finish(${batches > 1 ? `batch * ${size(m)} + ` : ''}row, group, ${results.slice(0, halves).join(', ')}); }
    ${results
      .slice(halves)
      .map((s, i) => `${results[i]} = ${s};`)
      .join(' ')}
  }
}
`
  return {
    dispatches: [{ label: 'matmul direct', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}
