// Attention without barriers: an invocation answers some queries of one head (Milakov, Gimelshein 2018, arXiv:1805.02867;
// Dao et al. 2022, arXiv:2205.14135), keys in blocks, logits never stored:
//   for block of keys: logits s = q · k; m' = max(m, s); l = l · 2^(m−m') + Σ 2^(s−m'); o = o · 2^(m−m') + Σ 2^(s−m') · v
//   y = o / l
// Any head width. Where a head's channels start or end within a vec4, an invocation answers a *bundle* of neighbouring heads
// that begins and ends on whole vec4s, one head after another, and carries the shared vec4 over: nobody else writes it.
// Wins on CPUs and where there are few queries; on GPUs it reads each key and value from the caches for every query.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { maskText } from '../layer-norm/workgroup-sum.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText, u32Text } from '../wgsl/number.ts'
import { attentionProblem, bundleSize, groupsOf, lowest, multiplyAdds, queryScale, tolerance } from './problem.ts'

interface Params {
  readonly lanes: number
  /** Queries an invocation: each key and value loaded serves all of them. */
  readonly queries: number
  /** Keys a block, written out: a running sum is loaded, rescaled and stored once for all of them. */
  readonly keys: number
  /**
   * Heads of at most so many vec4s have the loop over them written out: SwiftShader keeps an array with a running index in
   * memory, three times slower than registers.
   */
  readonly writtenGroups: number
}

function emit(request: Request<AttentionAttrs>, params: Params): Kernel {
  const problem = attentionProblem(request)
  const { n, heads, width } = problem
  const { causal, scale } = request.attrs
  const bundle = bundleSize(width)
  const bundles = Math.ceil(heads / bundle)
  const blocks = Math.ceil(problem.queries / params.queries)
  const io = ioText(requestOperands(request, ['q', 'k', 'v']))
  const grid = splitGrid(Math.ceil((n * bundles * blocks) / params.lanes), request.capabilities.limits)
  const count = groupsOf(width)
  const groups = u32Text(count)
  const lastGroup = sizeText(request.output.groups4 - 1)
  const [queries, keys] = [sizeText(problem.queries), sizeText(problem.keys)]
  const [perBlock, keyBlock] = [u32Text(params.queries), u32Text(params.keys)]
  const aligned = bundle === 1
  const group = (i: string) => (aligned ? `first + ${i}` : `min(first + ${i}, ${lastGroup})`)
  const each = (body: (q: number) => string) => Array.from({ length: params.queries }, (_, q) => body(q)).join('\n')
  const eachKey = (body: (j: number) => string) => Array.from({ length: params.keys }, (_, j) => body(j)).join('\n')
  const overGroups = (body: (i: string) => string) =>
    count <= params.writtenGroups
      ? Array.from({ length: count }, (_, i) => `    {\n${body(u32Text(i))}\n    }`).join('\n')
      : `    for (var i = 0u; i < ${sizeText(count)}; i++) {\n${body('i')}\n    }`
  const at = (q: number, i: string) => (q === 0 ? i : `${u32Text(q)} * ${groups} + ${i}`)
  const masks = problem.keys % params.keys !== 0 || causal
  const visible = (q: number, key: string) => (causal ? `${key} <= query${q} && ${key} < ${keys}` : `${key} < ${keys}`)
  const limit = causal ? `min(${keys}, block * ${perBlock} + ${perBlock})` : keys
  const row = (rows: string, r: string) => (n === 1 ? r : `n * ${rows} + ${r}`)

  // A vec4 shared with the next head waits in carry until that head's channels join it.
  const store = (q: number) =>
    aligned
      ? `    if (block * ${perBlock} + ${u32Text(q)} < ${queries}) {
      let place = ${row(queries, `query${q}`)};
      ${overGroups((i) => `store_y(place, first + ${i}, epilogue(place, first + ${i}, o[${at(q, i)}] / l${q}));`)}
    }`
      : `    if (block * ${perBlock} + ${u32Text(q)} < ${queries}) {
      let place = ${row(queries, `query${q}`)};
      for (var g = start / 4u; g * 4u < end; g++) {
        let whole = carry${q} + inHead(o[${u32Text(q)} * ${groups} + g - first] / l${q}, g, start, end);
        let open = g * 4u + 4u > end && head + 1u < lastHead;
        if (open) { carry${q} = whole; } else { carry${q} = vec4<f32>(0.0); store_y(place, g, epilogue(place, g, whole)); }
      }
    }`

  const wgsl = `${io.enables}${io.text}
${epilogueText(request)}
${aligned ? '' : maskText('inHead')}
@compute @workgroup_size(${params.lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = ${grid.index} * ${u32Text(params.lanes)} + lane;
  if (job >= ${sizeText(n * bundles * blocks)}) { return; }
  let block = job % ${sizeText(blocks)};
  let bundle = job / ${sizeText(blocks)} % ${sizeText(bundles)};
  let n = job / ${sizeText(blocks * bundles)};
${each((q) => `  let query${q} = min(block * ${perBlock} + ${u32Text(q)}, ${queries} - 1u);`)}
  var q: array<vec4<f32>, ${params.queries * groupsOf(width)}>;
  var o: array<vec4<f32>, ${params.queries * groupsOf(width)}>;
${aligned ? '' : each((q) => `  var carry${q} = vec4<f32>(0.0);`)}
  let lastHead = min(bundle * ${u32Text(bundle)} + ${u32Text(bundle)}, ${sizeText(heads)});
  for (var head = bundle * ${u32Text(bundle)}; head < lastHead; head++) {
    let start = head * ${u32Text(width)};
    let end = start + ${u32Text(width)};
    let first = start / 4u;
${overGroups((i) =>
  each((q) => {
    const value = `load_q(${row(queries, `query${q}`)}, ${group(i)}) * ${f32Text(queryScale(scale))}`
    return `      q[${at(q, i)}] = ${aligned ? value : `inHead(${value}, first + ${i}, start, end)`};
      o[${at(q, i)}] = vec4<f32>(0.0);`
  }),
)}
${each((q) => `    var m${q} = ${f32Text(lowest)};\n    var l${q} = 0.0;`)}
    for (var base = 0u; base < ${limit}; base += ${keyBlock}) {
${eachKey(
  (j) => `      let place${j} = ${row(keys, `min(base + ${u32Text(j)}, ${keys} - 1u)`)};
${each((q) => `      var logit${q}_${j} = vec4<f32>(0.0);`)}`,
)}
${overGroups(
  (i) => `${each((q) => `        let q${q} = q[${at(q, i)}];`)}
${eachKey(
  (j) => `        let k${j} = load_k(place${j}, ${group(i)});
${each((q) => `        logit${q}_${j} += q${q} * k${j};`)}`,
)}`,
)}
${each(
  (q) => `${eachKey((j) => {
    const sum = `dot(logit${q}_${j}, vec4<f32>(1.0))`
    const masked = `select(${f32Text(lowest)}, ${sum}, ${visible(q, `(base + ${u32Text(j)})`)})`
    return `      let s${q}_${j} = ${masks ? masked : sum};`
  })}
      let top${q} = ${Array.from({ length: params.keys }, (_, j) => j).reduce((max, j) => `max(${max}, s${q}_${j})`, `m${q}`)};
      let fade${q} = exp2(m${q} - top${q});
      m${q} = top${q};
${eachKey((j) => `      let p${q}_${j} = exp2(s${q}_${j} - top${q});`)}
      l${q} = l${q} * fade${q} + ${Array.from({ length: params.keys }, (_, j) => `p${q}_${j}`).join(' + ')};`,
)}
${overGroups(
  (i) => `${each((q) => `        var o${q} = o[${at(q, i)}] * fade${q};`)}
${eachKey(
  (j) => `        let v${j} = load_v(place${j}, ${group(i)});
${each((q) => `        o${q} += p${q}_${j} * v${j};`)}`,
)}
${each((q) => `        o[${at(q, i)}] = o${q};`)}`,
)}
    }
${each(store)}
  }
}
`
  return {
    dispatches: [{ label: 'attention.perQuery', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

export const perQueryAttention: Variant<AttentionAttrs, Params> = {
  name: 'per-query',
  tunings: {
    software: [
      { lanes: 16, queries: 1, keys: 4, writtenGroups: 8 },
      { lanes: 16, queries: 2, keys: 4, writtenGroups: 6 },
      { lanes: 16, queries: 4, keys: 4, writtenGroups: 4 },
    ],
    lavapipe: [{ lanes: 8, queries: 1, keys: 2, writtenGroups: 0 }],
    gpu: [
      { lanes: 64, queries: 1, keys: 4, writtenGroups: 0 },
      { lanes: 64, queries: 2, keys: 4, writtenGroups: 0 },
    ],
  },
  supports: (request, { lanes }) =>
    bindable(request) && lanes <= request.capabilities.limits.maxComputeInvocationsPerWorkgroup,
  cost(request, { queries, writtenGroups }) {
    const problem = attentionProblem(request)
    const work = multiplyAdds(problem)
    const jobs = (problem.n * problem.heads * problem.queries) / queries / bundleSize(problem.width)
    if (request.capabilities.kind === 'software') {
      // Loads against arithmetic, in registers or in memory; below 64 jobs cores and vector lanes idle.
      const memory = groupsOf(problem.width) <= writtenGroups ? 1 : 2
      return work * (0.5 + 1 / queries) * memory * Math.max(1, 64 / jobs)
    }
    const registers = 2 * queries * groupsOf(problem.width) * 4
    const spilled = registers > 200 ? 8 : 1
    const filled = Math.min(1, jobs / 65_536)
    return 3000 + ((work / 4000) * (0.4 + 1 / queries) * spilled) / filled ** 0.8
  },
  emit,
  tolerance,
}
