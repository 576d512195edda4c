// Attention for GPUs: a workgroup answers a block of queries of one head; tiles of keys and values lie in workgroup memory:
//   for tile of keys: load k, v → barrier → logits of the tile → running maximum and sum → o += weights · v → barrier
// `split` neighbouring lanes share a query, each with every split-th vec4 of the head, so that wide heads (80, 160, 512) stay
// in registers and few queries still fill the device; their partial logits meet in workgroup memory.
// The recurrence is the one of per-query.ts. Needs heads of whole vec4s. Loses on CPUs (barriers) and for very few keys.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { attentionProblem, lowest, multiplyAdds, queryScale, tolerance } from './problem.ts'

interface Params {
  readonly lanes: number
  /** Lanes that share a query: a power of two, and so a divisor of `lanes`. */
  readonly split: number
  /** Queries an invocation. */
  readonly queries: number
  /** Keys a tile. */
  readonly keys: number
}

/** vec4s of a head that a lane holds; the last lanes of a split may hold one less, padded with zeros. */
function share(width: number, split: number): number {
  return Math.ceil(width / 4 / split)
}

function workgroupBytes(width: number, { lanes, split, queries, keys }: Params): number {
  const tiles = 2 * keys * share(width, split) * split * 16
  return tiles + (split === 1 ? 0 : queries * keys * lanes * 4)
}

function emit(request: Request<AttentionAttrs>, params: Params): Kernel {
  const problem = attentionProblem(request)
  const { lanes, split } = params
  const { n, heads, width } = problem
  const { causal, scale } = request.attrs
  const groups4 = width / 4
  const held = share(width, split)
  const stride = held * split // vec4s of a row of a tile
  const perWorkgroup = (lanes / split) * params.queries
  const blocks = Math.ceil(problem.queries / perWorkgroup)
  const io = ioText(requestOperands(request, ['q', 'k', 'v']))
  const grid = splitGrid(n * heads * blocks, request.capabilities.limits)
  const [queries, keys] = [u32Text(problem.queries), u32Text(problem.keys)]
  const [tileKeys, heldText, splitText] = [u32Text(params.keys), u32Text(held), u32Text(split)]
  const each = (body: (q: number) => string) => Array.from({ length: params.queries }, (_, q) => body(q)).join('\n')
  const at = (q: number, i: string) => (q === 0 ? i : `${u32Text(q * held)} + ${i}`)
  const logitAt = (q: number) => (q === 0 ? 'j' : `${u32Text(q * params.keys)} + j`)
  const group = split === 1 ? 'i' : `part + i * ${splitText}`
  const padded = stride !== groups4
  const masks = causal || problem.keys % params.keys !== 0
  const visible = (q: number) => (causal ? `key <= query${q} && key < ${keys}` : `key < ${keys}`)
  const limit = `block * ${u32Text(perWorkgroup)} + ${u32Text(perWorkgroup)}` // of a causal block's keys
  const tileSize = params.keys * stride

  const gatherPartials =
    split === 1
      ? ''
      : `    for (var j = 0u; j < ${tileKeys}; j++) {
${each((q) => `      partialLogits[(${logitAt(q)}) * ${u32Text(lanes)} + lane] = s[${logitAt(q)}];`)}
    }
    workgroupBarrier();
    for (var j = 0u; j < ${tileKeys}; j++) {
${each((q) => {
  // Not `lane - part`: of a difference Dawn cannot tell that it is no less than 0, and would clamp every read.
  const base = `(${logitAt(q)}) * ${u32Text(lanes)} + lane / ${splitText} * ${splitText}`
  const sum = Array.from({ length: split }, (_, t) => `partialLogits[${base} + ${u32Text(t)}]`).join(' + ')
  return `      s[${logitAt(q)}] = ${sum};`
})}
    }`

  const wgsl = `${io.enables}${io.text}
${epilogueText(request)}
var<workgroup> tileK: array<vec4<f32>, ${tileSize}>;
var<workgroup> tileV: array<vec4<f32>, ${tileSize}>;
${split === 1 ? '' : `var<workgroup> partialLogits: array<f32, ${params.queries * params.keys * lanes}>;`}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = min(${grid.index}, ${u32Text(n * heads * blocks - 1)}); // to spare: the last again, storing nothing
  let live = ${grid.overshoots ? `${grid.index} == job` : 'true'};
  let block = job % ${u32Text(blocks)};
  let first = job / ${u32Text(blocks)} % ${u32Text(heads)} * ${u32Text(groups4)};
  let n = job / ${u32Text(blocks * heads)};
  let part = lane % ${splitText};
${each(
  (q) => `  let place${q} = block * ${u32Text(perWorkgroup)} + ${u32Text((q * lanes) / split)} + lane / ${splitText};
  let query${q} = min(place${q}, ${queries} - 1u);
  var m${q} = ${f32Text(lowest)};
  var l${q} = 0.0;`,
)}
  var q: array<vec4<f32>, ${params.queries * held}>;
  var o: array<vec4<f32>, ${params.queries * held}>;
  var s: array<f32, ${params.queries * params.keys}>;
  for (var i = 0u; i < ${heldText}; i++) {
    let g = ${group};
${each((q) => {
  const value = `load_q(n * ${queries} + query${q}, first + ${padded ? `min(g, ${u32Text(groups4 - 1)})` : 'g'}) * ${f32Text(queryScale(scale))}`
  return `    q[${at(q, 'i')}] = ${padded ? `select(vec4<f32>(0.0), ${value}, g < ${u32Text(groups4)})` : value};`
})}
  }
  for (var tile = 0u; tile < ${u32Text(Math.ceil(problem.keys / params.keys))}; tile++) { // so that Dawn sees it end
    let base = tile * ${tileKeys};
${causal ? `    if (base >= ${limit}) { break; }\n` : ''}    workgroupBarrier(); // the readers of the last tile are done
    for (var t = 0u; t < ${u32Text(Math.ceil(tileSize / lanes))}; t++) {
      let place = t * ${u32Text(lanes)} + lane;
      if (place < ${u32Text(tileSize)}) {
        let e = ${tileSize % lanes === 0 ? 'place' : `min(place, ${u32Text(tileSize - 1)})`}; // else Dawn clamps twice
        let row = n * ${keys} + min(base + e / ${u32Text(stride)}, ${keys} - 1u);
        let g = first + ${padded ? `min(e % ${u32Text(stride)}, ${u32Text(groups4 - 1)})` : `e % ${u32Text(stride)}`};
        tileK[e] = load_k(row, g);
        tileV[e] = load_v(row, g);
      }
    }
    workgroupBarrier();
    for (var j = 0u; j < ${tileKeys}; j++) {
${each((q) => `      var logit${q} = vec4<f32>(0.0);`)}
      for (var i = 0u; i < ${heldText}; i++) {
        let k = tileK[j * ${u32Text(stride)} + ${group}];
${each((q) => `        logit${q} += q[${at(q, 'i')}] * k;`)}
      }
${each((q) => `      s[${logitAt(q)}] = dot(logit${q}, vec4<f32>(1.0));`)}
    }
${gatherPartials}
${each((q) => `    var top${q} = m${q};`)}
    for (var j = 0u; j < ${tileKeys}; j++) {
${masks ? '      let key = base + j;' : ''}
${each((q) => `${masks ? `      s[${logitAt(q)}] = select(${f32Text(lowest)}, s[${logitAt(q)}], ${visible(q)});\n` : ''}      top${q} = max(top${q}, s[${logitAt(q)}]);`)}
    }
${each((q) => `    let fade${q} = exp2(m${q} - top${q});\n    m${q} = top${q};\n    l${q} *= fade${q};`)}
    for (var i = 0u; i < ${heldText}; i++) {
${each((q) => `      o[${at(q, 'i')}] *= fade${q};`)}
    }
    for (var j = 0u; j < ${tileKeys}; j++) {
${each((q) => `      let p${q} = exp2(s[${logitAt(q)}] - m${q});\n      l${q} += p${q};`)}
      for (var i = 0u; i < ${heldText}; i++) {
        let v = tileV[j * ${u32Text(stride)} + ${group}];
${each((q) => `        o[${at(q, 'i')}] += p${q} * v;`)}
      }
    }
  }
  for (var i = 0u; i < ${heldText}; i++) {
    let g = ${group};
${each(
  (q) => `    if (live && place${q} < ${queries}${padded ? ` && g < ${u32Text(groups4)}` : ''}) {
      let row = n * ${queries} + place${q};
      store_y(row, first + g, epilogue(row, first + g, o[${at(q, 'i')}] / l${q}));
    }`,
)}
  }
}
`
  return {
    dispatches: [{ label: 'attention.tiled', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

export const tiledAttention: Variant<AttentionAttrs, Params> = {
  name: 'tiled',
  tunings: {
    software: [],
    gpu: [
      { lanes: 128, split: 1, queries: 1, keys: 16 },
      { lanes: 128, split: 1, queries: 2, keys: 16 },
      { lanes: 128, split: 2, queries: 1, keys: 16 },
      { lanes: 128, split: 2, queries: 2, keys: 8 },
      { lanes: 128, split: 2, queries: 4, keys: 8 },
      { lanes: 128, split: 4, queries: 1, keys: 8 },
      { lanes: 128, split: 4, queries: 2, keys: 8 },
      { lanes: 128, split: 4, queries: 4, keys: 8 },
      { lanes: 128, split: 8, queries: 1, keys: 8 },
      { lanes: 128, split: 8, queries: 2, keys: 8 },
      { lanes: 128, split: 8, queries: 4, keys: 8 },
      { lanes: 128, split: 16, queries: 1, keys: 4 },
      { lanes: 128, split: 16, queries: 2, keys: 4 },
    ],
  },
  supports: (request, params) => {
    const { limits } = request.capabilities
    const { width } = attentionProblem(request)
    return (
      bindable(request) &&
      width % 4 === 0 &&
      width / 4 >= params.split &&
      params.lanes <= limits.maxComputeInvocationsPerWorkgroup &&
      workgroupBytes(width, params) <= limits.maxComputeWorkgroupStorageSize
    )
  },
  // Fitted to 22 runs on an H100 (4096 queries of width 40, 1024 of width 80): within 25 % where nothing spills.
  cost(request, { lanes, split, queries, keys }) {
    const problem = attentionProblem(request)
    const held = share(problem.width, split)
    const pairs = (multiplyAdds(problem) / (2 * problem.width)) * split // of a query and a key, in a lane
    if (request.capabilities.kind === 'software') return pairs * held * 48
    // Multiply-adds of both products, reads of a tile's rows (they serve all queries of a lane), joining of partial logits.
    const reads = (0.42 * held + 0.36) / queries
    const pairPs = 0.3 * held + reads + (split === 1 ? 0 : 0.18 * (1 + split))
    const registers = 8 * queries * held + queries * keys + 24
    const spilled = registers > 250 ? 4 : 1
    const perWorkgroup = (lanes / split) * queries
    const workgroups = problem.n * problem.heads * Math.ceil(problem.queries / perWorkgroup)
    const idle = Math.max(1, 200 / workgroups) ** 0.8
    const spare = (Math.ceil(problem.queries / perWorkgroup) * perWorkgroup) / problem.queries
    return 3000 + (pairs / 1000) * pairPs * spilled * idle * spare
  },
  emit,
  tolerance,
}
