// Bindings of the sampling kernels: the model's operand through its accessors, then the sampler's own buffers.
import type { Limits, Operand } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText } from '../wgsl/io.ts'
import type { SamplingBinding, SamplingDispatch } from './coefficients.ts'

const declarations = {
  state: 'var<storage, read_write> state: array<f32>',
  noise: 'var<storage, read_write> noise: array<f32>',
  coefficients: 'var<storage, read> coefficients: array<f32>',
  factors: 'var<storage, read_write> factors: array<f32>',
  flags: 'var<storage, read_write> flags: array<atomic<u32>>',
} as const satisfies Partial<Record<SamplingBinding, string>>

/**
 * A dispatch of `count` workgroups of `lanes`. The model's operand has accessors at_m, load_m (and store_m if written).
 * `body` sees `wid`, the workgroup's number `job`, `lane` and `invocation` = job · lanes + lane.
 */
export function samplingDispatch(
  label: string,
  model: { readonly binding: 'modelInput' | 'modelOutput'; readonly operand: Operand },
  buffers: readonly (keyof typeof declarations)[],
  grid: { readonly count: number; readonly lanes: number; readonly limits: Limits },
  functions: string,
  body: string,
): SamplingDispatch {
  const role = model.binding === 'modelInput' ? ({ kind: 'output' } as const) : ({ kind: 'input', index: 0 } as const)
  const io = ioText([{ name: 'm', operand: model.operand, role }])
  const spread = splitGrid(grid.count, grid.limits)
  const declared = buffers.map((name, i) => `@group(0) @binding(${i + 1}) ${declarations[name]};`).join('\n')
  const wgsl = `${io.enables}${io.text}
${declared}
${functions}
@compute @workgroup_size(${grid.lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = ${spread.index};
  let invocation = job * ${grid.lanes}u + lane;
${body}
}
`
  return { label, wgsl, bindings: [model.binding, ...buffers], workgroups: spread.workgroups }
}
