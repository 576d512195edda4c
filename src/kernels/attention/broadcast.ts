// Attention on CPUs: a subgroup answers as many queries as it has lanes, for one head, keys in blocks of as many:
//   for block of keys: each lane loads its own key, a vec4 at a time; every lane gets all of them by broadcast
//     logits s = q · k; m' = max(m, s); l = l · 2^(m−m') + Σ 2^(s−m'); o = o · 2^(m−m') + Σ 2^(s−m') · v, values loaded alike
//   y = o / l
// As `per-query` (its sources too), but each key and value is loaded once for all queries, and the text is a fraction as long.
// Any head width: see `bundleSize`.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { maskText } from '../layer-norm/workgroup-sum.ts'
import { broadcasts, range } from '../matmul/broadcast-text.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, sizeText as size, u32Text } from '../wgsl/number.ts'
import { attentionProblem, bundleSize, groupsOf, lowest, multiplyAdds, queryScale, tolerance } from './problem.ts'

interface Params {
  /** Queries of a lane. */
  readonly queries: number
  /** Heads of at most so many vec4s have the loops over them written out, their sums in registers rather than in an array. */
  readonly writtenGroups: number
}

/** The scale as data, since it goes with the head's width. */
function scaleText(scale: number): string {
  return `bitcast<f32>(${size(new Uint32Array(Float32Array.of(queryScale(scale)).buffer)[0]!)})`
}

function emit(request: Request<AttentionAttrs>, params: Params): Kernel {
  const problem = attentionProblem(request)
  const { n, heads, width } = problem
  const { causal, scale } = request.attrs
  const { limits, subgroupSize } = request.capabilities
  const lanes = subgroupSize[0]
  const perBlock = lanes * params.queries
  const bundle = bundleSize(width)
  const aligned = bundle === 1
  const bundles = Math.ceil(heads / bundle)
  const blocks = Math.ceil(problem.queries / perBlock)
  const jobs = n * bundles * blocks
  const io = ioText(requestOperands(request, ['q', 'k', 'v']))
  const grid = splitGrid(jobs, limits)
  const count = groupsOf(width)
  const written = count <= params.writtenGroups
  // Room for the next power of two: one text for heads of several widths.
  const held = written ? count : 2 ** Math.ceil(Math.log2(count))
  const [queries, keys] = [size(problem.queries), size(problem.keys)]
  const lines = (count: number, body: (i: number) => string) => range(count).map(body).join('\n')
  const eachKey = (body: (j: number) => string) => lines(lanes, body)
  const each = (body: (q: number) => string) => lines(params.queries, body)
  const group = (i: string) => (aligned ? `first + ${i}` : `min(first + ${i}, ${size(request.output.groups4 - 1)})`)
  const overGroups = (body: (i: string) => string) =>
    written
      ? lines(count, (i) => `{\n${body(u32Text(i))}\n}`)
      : `for (var i = 0u; i < ${size(count)}; i++) {\n${body('i')}\n}`
  const list = (name: string) => range(lanes).map((j) => `${name}${j}`)
  const masks = problem.keys % lanes !== 0 || causal
  const limit = causal ? `min(${keys}, (block + 1u) * ${perBlock}u)` : keys
  const logit = (q: number, j: number) => {
    const sum = `dot(logit${q}_${j}, vec4<f32>(1.0))`
    const key = `base + ${j}u`
    return masks
      ? `select(${f32Text(lowest)}, ${sum}, ${key} < ${causal ? `min(${keys}, query${q} + 1u)` : keys})`
      : sum
  }
  const query = (q: number, i: string) => {
    const value = `load_q(place${q}, ${group(i)}) * ${scaleText(scale)}`
    return aligned ? value : `inHead(${value}, first + ${i}, start, end)`
  }
  // A vec4 shared with the next head waits in carry until that head's channels join it.
  const store = (q: number) =>
    aligned
      ? overGroups((i) => `store_y(place${q}, first + ${i}, epilogue(place${q}, first + ${i}, o${q}[${i}] / l${q}));`)
      : `for (var g = start / 4u; g * 4u < end; g++) {
let whole = carry${q} + inHead(o${q}[g - first] / l${q}, g, start, end);
let open = g * 4u + 4u > end && head + 1u < lastHead;
if (open) { carry${q} = whole; } else { carry${q} = vec4<f32>(0.0); store_y(place${q}, g, epilogue(place${q}, g, whole)); }
}`

  const wgsl = `${io.enables}enable subgroups;
${io.text}
${epilogueText(request)}
${aligned ? '' : maskText('inHead')}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
let job = ${grid.index};
if (job >= ${size(jobs)}) { return; }
let block = job % ${size(blocks)};
let bundle = job / ${size(blocks)} % ${size(bundles)};
let n = job / ${size(blocks * bundles)};
${each(
  (q) => `let query${q} = block * ${perBlock}u + ${q * lanes}u + lane;
let place${q} = n * ${queries} + min(query${q}, ${size(problem.queries - 1)});
var q${q}: array<vec4<f32>, ${held}>;
var o${q}: array<vec4<f32>, ${held}>;
${aligned ? '' : `var carry${q} = vec4<f32>(0.0);`}`,
)}
let lastHead = min(bundle * ${bundle}u + ${bundle}u, ${size(heads)});
for (var head = bundle * ${bundle}u; head < lastHead; head++) {
let start = head * ${size(width)};
let end = start + ${size(width)};
let first = start / 4u;
${overGroups((i) => each((q) => `q${q}[${i}] = ${query(q, i)};\no${q}[${i}] = vec4<f32>(0.0);`))}
${each((q) => `var m${q} = ${f32Text(lowest)};\nvar l${q} = 0.0;`)}
for (var base = 0u; base < ${limit}; base += ${lanes}u) {
let key = n * ${keys} + min(base + lane, ${size(problem.keys - 1)});
${each((q) => eachKey((j) => `var logit${q}_${j} = vec4<f32>(0.0);`))}
${overGroups(
  (i) => `let mine = load_k(key, ${group(i)});
${each((q) => `let x${q} = q${q}[${i}];`)}
${eachKey((j) => `let k${j} = subgroupBroadcast(mine, ${j}u);\n${each((q) => `logit${q}_${j} += x${q} * k${j};`)}`)}`,
)}
${each(
  (q) => `${eachKey((j) => `let s${q}_${j} = ${logit(q, j)};`)}
let top${q} = ${list(`s${q}_`).reduce((max, s) => `max(${max}, ${s})`, `m${q}`)};
let fade${q} = exp2(m${q} - top${q});
m${q} = top${q};
${eachKey((j) => `let p${q}_${j} = exp2(s${q}_${j} - top${q});`)}
l${q} = l${q} * fade${q} + ${list(`p${q}_`).join(' + ')};`,
)}
${overGroups(
  (i) => `let mine = load_v(key, ${group(i)});
${each((q) => `var sum${q} = o${q}[${i}] * fade${q};`)}
${eachKey((j) => `let v${j} = subgroupBroadcast(mine, ${j}u);\n${each((q) => `sum${q} += p${q}_${j} * v${j};`)}`)}
${each((q) => `o${q}[${i}] = sum${q};`)}`,
)}
}
${each((q) => `if (query${q} < ${queries}) {\n${store(q)}\n}`)}
}
}
`
  return {
    dispatches: [{ label: 'attention.broadcast', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

export const broadcastAttention: Variant<AttentionAttrs, Params> = {
  name: 'broadcast',
  tunings: {
    software: [{ queries: 2, writtenGroups: 8 }],
    lavapipe: [{ queries: 1, writtenGroups: 0 }],
    gpu: [],
  },
  supports: (request) => bindable(request) && broadcasts(request.capabilities),
  cost: (request) => multiplyAdds(attentionProblem(request)) * 0.5,
  emit,
  tolerance,
}
