// softmax(scale · q·kᵀ)·v by head, logits never stored: without barriers, with tiles in workgroup memory, on matrix units.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { perQueryAttention } from './per-query.ts'
import { subgroupMatrixAttention } from './subgroup-matrix.ts'
import { tiledAttention } from './tiled.ts'

export const attentionFamily: Family<AttentionAttrs> = {
  op: 'attention',
  variants: [perQueryAttention, tiledAttention, subgroupMatrixAttention],
}
