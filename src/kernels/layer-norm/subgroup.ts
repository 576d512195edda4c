// A subgroup normalises some rows that its lanes hold in registers (subgroup-rows.ts): sums, rstd, result.
import type { LayerNormAttrs } from '../../ops/attrs.ts'
import type { Kernel, Request, Variant } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import {
  range,
  type SubgroupParams,
  subgroupCost,
  subgroupHolds,
  subgroupRows,
  subgroupTunings,
} from './subgroup-rows.ts'
import { tolerance } from './tolerance.ts'

function emit(request: Request<LayerNormAttrs>, { rows }: SubgroupParams): Kernel {
  const { attrs, inputs, output, capabilities } = request
  const { groups4 } = output
  const [lanes] = capabilities.subgroupSize
  const io = ioText(requestOperands(request, ['x', 'gamma', 'beta']))
  const grid = splitGrid(Math.ceil(output.rows / rows), capabilities.limits)
  const held = subgroupRows(inputs[0]!, rows, lanes)
  const { turns, groupOf, partial } = held
  const each = (text: (r: number) => string) => range(rows).map(text).join('\n')
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
  const wgsl = `enable subgroups;
${io.enables}${io.text}
${held.functions}
${epilogueText(request)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let first = ${grid.index} * ${u32Text(rows)};
  if (first > ${u32Text(output.rows - 1)}) { return; }
${held.text}
${each((r) => `  let rstd${r} = inverseSqrt(${held.variance(r)} + ${f32Text(attrs.epsilon)});`)}
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

export const subgroupLayerNorm: Variant<LayerNormAttrs, SubgroupParams> = {
  name: 'subgroup',
  tunings: { software: [], gpu: subgroupTunings },
  supports: (request, { rows }) =>
    bindable(request) && subgroupHolds(request.capabilities, request.output.groups4, rows),
  cost: (request, { rows }) => subgroupCost(request.capabilities, request.output, rows),
  emit,
  tolerance,
}
