// Every kernel family by the name of its op. A reshape is a view and needs no kernel.

import type { OpName } from '../ops/ops.ts'
import { attentionFamily } from './attention/family.ts'
import { concatFamily } from './concat/family.ts'
import { conv2dFamily } from './conv2d/family.ts'
import { embeddingFamily } from './embedding/family.ts'
import type { Family } from './family.ts'
import { groupNormFamily } from './group-norm/family.ts'
import { layerNormFamily } from './layer-norm/family.ts'
import { matmulFamily } from './matmul/family.ts'
import { pointwiseFamily } from './pointwise/family.ts'
import { sliceFamily } from './slice/family.ts'
import { upsampleFamily } from './upsample/family.ts'

export const families = {
  attention: attentionFamily,
  concat: concatFamily,
  conv2d: conv2dFamily,
  embedding: embeddingFamily,
  groupNorm: groupNormFamily,
  layerNorm: layerNormFamily,
  matmul: matmulFamily,
  pointwise: pointwiseFamily,
  slice: sliceFamily,
  upsample: upsampleFamily,
} as const satisfies Record<Exclude<OpName, 'reshape'>, Family<never>>
