// softmax(scale · q·kᵀ)·v by head, logits never stored: without barriers, or with tiles in workgroup memory.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { perQueryAttention } from './per-query.ts'
import { tiledAttention } from './tiled.ts'

export const attentionFamily: Family<AttentionAttrs> = {
  op: 'attention',
  variants: [perQueryAttention, tiledAttention],
}
