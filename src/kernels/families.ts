// Every kernel family by the name of its op. Reshapes and rows taken or joined are views and need no kernel.

import type { OpName } from '../ops/ops.ts'
import { attentionFamily } from './attention/family.ts'
import { concatFamily } from './concat/family.ts'
import { conv2dFamily } from './conv2d/family.ts'
import { embeddingFamily } from './embedding/family.ts'
import type { Family } from './family.ts'
import { groupNormFamily } from './group-norm/family.ts'
import { layerNormFamily } from './layer-norm/family.ts'
import { matmulFamily } from './matmul/family.ts'
import { channelMomentsFamily } from './moments/channel-moments.ts'
import { groupMomentsFamily } from './moments/group-moments.ts'
import { normaliseFamily } from './moments/normalise.ts'
import { rowMomentsFamily } from './moments/row-moments.ts'
import { pointwiseFamily } from './pointwise/family.ts'
import { sliceFamily } from './slice/family.ts'
import { upsampleFamily } from './upsample/family.ts'

export const families = {
  attention: attentionFamily,
  channelMoments: channelMomentsFamily,
  concat: concatFamily,
  conv2d: conv2dFamily,
  embedding: embeddingFamily,
  groupMoments: groupMomentsFamily,
  groupNorm: groupNormFamily,
  layerNorm: layerNormFamily,
  matmul: matmulFamily,
  normalise: normaliseFamily,
  pointwise: pointwiseFamily,
  rowMoments: rowMomentsFamily,
  slice: sliceFamily,
  upsample: upsampleFamily,
} as const satisfies Record<Exclude<OpName, 'reshape' | 'sliceRows' | 'joinRows'>, Family<never>>
