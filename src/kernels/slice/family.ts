// Channels start … end−1 of the last axis: whole groups, or two neighbouring groups shifted into one.
import type { SliceAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'
import { sizeText } from '../wgsl/number.ts'

function emit(request: Request<SliceAttrs>, params: GatherParams): Kernel {
  const { start } = request.attrs
  const shift = start % 4
  const group = `group + ${sizeText(Math.floor(start / 4))}`
  const next = `min(${group} + 1u, ${sizeText(request.inputs[0]!.groups4 - 1)})`
  const value =
    shift === 0
      ? `fn value(row: u32, group: u32) -> vec4<f32> { return load_x(row, ${group}); }`
      : `fn value(row: u32, group: u32) -> vec4<f32> {
  let a = load_x(row, ${group});
  let b = load_x(row, ${next});
  return vec4<f32>(a.${'xyzw'.slice(shift)}, b.${'xyzw'.slice(0, shift)});
}`
  return gatherKernel('slice', request, params, ['x'], value)
}

const shifted: Variant<SliceAttrs, GatherParams> = {
  name: 'shifted',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: gatherCost,
  emit,
  // A copy: exact but for the epilogue and the store.
  tolerance: { f32: 1, f16: 1 },
}

export const sliceFamily: Family<SliceAttrs> = { op: 'slice', variants: [shifted] }
