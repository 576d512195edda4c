// Rows of a table by token id.
import type { EmbeddingAttrs } from '../../ops/attrs.ts'
import type { Family, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'
import { sizeText } from '../wgsl/number.ts'

const rows: Variant<EmbeddingAttrs, GatherParams> = {
  name: 'rows',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: gatherCost,
  // Ids come from the caller: one beyond the table must not read beyond the buffer, with or without robust access.
  emit: (request, params) =>
    gatherKernel(
      'embedding',
      request,
      params,
      ['ids', 'table'],
      `fn value(row: u32, group: u32) -> vec4<f32> {
  return load_table(min(at_ids(row), ${sizeText(request.inputs[1]!.rows - 1)}), group);
}`,
    ),
  // A copy: exact but for the epilogue and the store.
  tolerance: { f32: 1, f16: 1 },
}

export const embeddingFamily: Family<EmbeddingAttrs> = { op: 'embedding', variants: [rows] }
