// Every op by name: whoever must treat them all (kernels, executors, tests) starts here.
import type { OpDef } from '../graph/op.ts'
import { attentionOp } from './attention.ts'
import { concatOp } from './concat.ts'
import { conv2dOp } from './conv2d.ts'
import { embeddingOp } from './embedding.ts'
import { groupNormOp } from './group-norm.ts'
import { layerNormOp } from './layer-norm.ts'
import { matmulOp } from './matmul.ts'
import { pointwiseOp } from './pointwise.ts'
import { reshapeOp } from './reshape.ts'
import { sliceOp } from './slice.ts'
import { upsampleOp } from './upsample.ts'

export const ops = {
  attention: attentionOp,
  concat: concatOp,
  conv2d: conv2dOp,
  embedding: embeddingOp,
  groupNorm: groupNormOp,
  layerNorm: layerNormOp,
  matmul: matmulOp,
  pointwise: pointwiseOp,
  reshape: reshapeOp,
  slice: sliceOp,
  upsample: upsampleOp,
} as const satisfies Record<string, OpDef<never>>

export type OpName = keyof typeof ops
