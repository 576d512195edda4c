// (x − mean) · scale + beta with the moments at hand: every element by itself.
import type { NormaliseAttrs } from '../../ops/attrs.ts'
import type { Family, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'
import { sizeText } from '../wgsl/number.ts'

const elements: Variant<NormaliseAttrs, GatherParams> = {
  name: 'elements',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: (request, params) => gatherCost(request, params, 4),
  emit(request, params) {
    const [, h, w] = request.output.shape as [number, number, number, number]
    return gatherKernel(
      'normalise',
      request,
      params,
      ['x', 'moments', 'beta'],
      `fn value(row: u32, group: u32) -> vec4<f32> {
  let moments = row / ${sizeText(h * w)} * 2u;
  return (load_x(row, group) - load_moments(moments, group)) * load_moments(moments + 1u, group) + load_beta(0u, group);
}`,
    )
  },
  // Three roundings; f16: one store.
  tolerance: { f32: 4, f16: 1.25 },
}

export const normaliseFamily: Family<NormaliseAttrs> = { op: 'normalise', variants: [elements] }
