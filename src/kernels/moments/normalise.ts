// (x − mean) · scale + beta with the moments at hand: every element by itself.
import type { NormaliseAttrs } from '../../ops/attrs.ts'
import type { Family, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'

const elements: Variant<NormaliseAttrs, GatherParams> = {
  name: 'elements',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: (request, params) => gatherCost(request, params, 4),
  emit: (request, params) =>
    gatherKernel(
      'normalise',
      request,
      params,
      ['x', 'moments', 'beta'],
      `fn value(row: u32, group: u32) -> vec4<f32> {
  return (load_x(row, group) - load_moments(0u, group)) * load_moments(1u, group) + load_beta(0u, group);
}`,
    ),
  // Three roundings; f16: one store.
  tolerance: { f32: 4, f16: 1.25 },
}

export const normaliseFamily: Family<NormaliseAttrs> = { op: 'normalise', variants: [elements] }
