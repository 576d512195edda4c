// softmax(scale · q·kᵀ)·v by head. Logits never stored: without barriers, with tiles in workgroup memory, on matrix units;
// stored once (partially fused softmax): as two products; and, to compare with, without any fusion.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { broadcastAttention } from './broadcast.ts'
import { partialSoftmaxAttention, plainAttention } from './partial-softmax.ts'
import { partialSoftmaxMatrixAttention } from './partial-softmax-matrix.ts'
import { perQueryAttention } from './per-query.ts'
import { subgroupMatrixAttention } from './subgroup-matrix.ts'
import { tiledAttention } from './tiled.ts'

export const attentionFamily: Family<AttentionAttrs> = {
  op: 'attention',
  variants: [
    perQueryAttention,
    broadcastAttention,
    tiledAttention,
    subgroupMatrixAttention,
    partialSoftmaxAttention,
    partialSoftmaxMatrixAttention,
    plainAttention,
  ],
}
