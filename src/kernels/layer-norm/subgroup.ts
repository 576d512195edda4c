// A subgroup normalises some rows that its lanes hold in registers: memory is read once, sums need no barrier.
//   load → sum → mean; sum of (x − mean)² → rstd; result
// A workgroup is one subgroup, so nothing depends on how lanes are numbered. Needs subgroups of one certain size; loses where a
// row is so long that it fills more registers than there are.
import type { LayerNormAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { tolerance } from './tolerance.ts'
import { maskText } from './workgroup-sum.ts'

interface Params {
  /** Rows at a time: their loads wait for memory together. */
  readonly rows: number
}

/** vec4s that a lane holds. */
const heldAtMost = 20

const range = (n: number) => Array.from({ length: n }, (_, i) => i)

function emit(request: Request<LayerNormAttrs>, { rows }: Params): Kernel {
  const { attrs, output, capabilities } = request
  const { groups4, channels } = output
  const [lanes] = capabilities.subgroupSize
  const io = ioText(requestOperands(request, ['x', 'gamma', 'beta']))
  const grid = splitGrid(Math.ceil(output.rows / rows), capabilities.limits)
  const last = u32Text(output.rows - 1)
  const turns = range(Math.ceil(groups4 / lanes))
  const groupOf = (i: number) => (i === 0 ? 'lane' : `(lane + ${u32Text(i * lanes)})`)
  /** Whether some lane has nothing at turn i. */
  const partial = (i: number) => (i + 1) * lanes > groups4
  const load = (r: number, i: number) => {
    const value = `load_x(row${r}, ${partial(i) ? `min(${groupOf(i)}, ${u32Text(groups4 - 1)})` : groupOf(i)})`
    return `  let x${r}_${i} = ${partial(i) ? `select(vec4<f32>(0.0), ${value}, ${groupOf(i)} < ${u32Text(groups4)})` : value};`
  }
  const deviation = (r: number, i: number) => {
    const value = `x${r}_${i} - mean${r}`
    const masked = channels % 4 !== 0 || partial(i)
    return `  let d${r}_${i} = ${masked ? `masked(${value}, ${groupOf(i)}, 0u, ${u32Text(channels)})` : value};`
  }
  const each = (text: (r: number) => string) => range(rows).map(text).join('\n')
  const total = (terms: readonly string[]) =>
    `subgroupAdd(dot(${terms.join(' + ')}, vec4<f32>(1.0))) / ${f32Text(channels)}`
  const store = (r: number, i: number) => {
    const g = groupOf(i)
    const conditions = [
      ...(partial(i) ? [`${g} < ${u32Text(groups4)}`] : []),
      // Rows to spare repeat the last one.
      ...(r > 0 && output.rows % rows !== 0 ? [`row${r} == first + ${u32Text(r)}`] : []),
    ]
    const value = `(x${r}_${i} - mean${r}) * rstd${r} * gamma + beta`
    const text = `store_y(row${r}, ${g}, epilogue(row${r}, ${g}, ${value}));`
    return `    ${conditions.length > 0 ? `if (${conditions.join(' && ')}) { ${text} }` : text}`
  }
  const masks = channels % 4 !== 0 || turns.some(partial)
  const wgsl = `enable subgroups;
${io.enables}${io.text}
${masks ? maskText('masked') : ''}
${epilogueText(request)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let first = ${grid.index} * ${u32Text(rows)};
  if (first > ${last}) { return; }
${each((r) => `  let row${r} = ${r === 0 || output.rows % rows === 0 ? `first + ${u32Text(r)}` : `min(first + ${u32Text(r)}, ${last})`};`)}
${each((r) => turns.map((i) => load(r, i)).join('\n'))}
${each((r) => `  let mean${r} = ${total(turns.map((i) => `x${r}_${i}`))};`)}
${each((r) => turns.map((i) => deviation(r, i)).join('\n'))}
${each((r) => `  let rstd${r} = inverseSqrt(${total(turns.map((i) => `d${r}_${i} * d${r}_${i}`))} + ${f32Text(attrs.epsilon)});`)}
${turns
  .map(
    (i) => `  {
    let gamma = load_gamma(0u, ${partial(i) ? `min(${groupOf(i)}, ${u32Text(groups4 - 1)})` : groupOf(i)});
    let beta = load_beta(0u, ${partial(i) ? `min(${groupOf(i)}, ${u32Text(groups4 - 1)})` : groupOf(i)});
${each((r) => store(r, i))}
  }`,
  )
  .join('\n')}
}
`
  return {
    dispatches: [{ label: 'layerNorm.subgroup', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

export const subgroupLayerNorm: Variant<LayerNormAttrs, Params> = {
  name: 'subgroup',
  tunings: { software: [], gpu: [{ rows: 1 }, { rows: 2 }, { rows: 4 }] },
  supports(request, { rows }) {
    const { subgroups, subgroupSize, limits } = request.capabilities
    const [smallest, largest] = subgroupSize
    return (
      bindable(request) &&
      subgroups &&
      smallest === largest &&
      smallest <= limits.maxComputeInvocationsPerWorkgroup &&
      Math.ceil(request.output.groups4 / smallest) * rows <= heldAtMost
    )
  },
  cost(request, { rows }) {
    const { output, capabilities } = request
    const share = Math.ceil(output.groups4 / capabilities.subgroupSize[0]) * rows
    if (capabilities.kind === 'software') return output.rows * output.groups4 * 100
    const waves = Math.max(1, ((output.rows / rows) * capabilities.subgroupSize[0]) / 262_144)
    return 2000 + waves * (240 + share * 60)
  },
  emit,
  tolerance,
}
