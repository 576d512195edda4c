// Every op by name: whoever must treat them all (kernels, executors, tests) starts here.
import type { OpDef } from '../graph/op.ts'
import { attentionOp } from './attention.ts'
import { channelMomentsOp } from './channel-moments.ts'
import { concatOp } from './concat.ts'
import { conv2dOp } from './conv2d.ts'
import { embeddingOp } from './embedding.ts'
import { groupMomentsOp } from './group-moments.ts'
import { groupNormOp } from './group-norm.ts'
import { joinRowsOp } from './join-rows.ts'
import { layerNormOp } from './layer-norm.ts'
import { matmulOp } from './matmul.ts'
import { normaliseOp } from './normalise.ts'
import { pointwiseOp } from './pointwise.ts'
import { reshapeOp } from './reshape.ts'
import { rowMomentsOp } from './row-moments.ts'
import { sliceOp } from './slice.ts'
import { sliceRowsOp } from './slice-rows.ts'
import { upsampleOp } from './upsample.ts'

export const ops = {
  attention: attentionOp,
  channelMoments: channelMomentsOp,
  concat: concatOp,
  conv2d: conv2dOp,
  embedding: embeddingOp,
  groupMoments: groupMomentsOp,
  groupNorm: groupNormOp,
  joinRows: joinRowsOp,
  layerNorm: layerNormOp,
  matmul: matmulOp,
  normalise: normaliseOp,
  pointwise: pointwiseOp,
  reshape: reshapeOp,
  rowMoments: rowMomentsOp,
  slice: sliceOp,
  sliceRows: sliceRowsOp,
  upsample: upsampleOp,
} as const satisfies Record<string, OpDef<never>>

export type OpName = keyof typeof ops
