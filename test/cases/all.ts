// Every case by op; the compiler finds an op that has none.
import type { OpName } from '../../src/ops/ops.ts'
import { cases as attention } from './attention.ts'
import type { OpCase } from './case.ts'
import { cases as conv2d } from './conv2d.ts'
import { cases as matmul } from './matmul.ts'
import { concatCases, embeddingCases, reshapeCases, sliceCases, upsampleCases } from './movement.ts'
import { groupNormCases, layerNormCases } from './norms.ts'
import { cases as pointwise } from './pointwise.ts'

export const allCases: Readonly<Record<OpName, readonly OpCase[]>> = {
  attention,
  concat: concatCases,
  conv2d,
  embedding: embeddingCases,
  groupNorm: groupNormCases,
  layerNorm: layerNormCases,
  matmul,
  pointwise,
  reshape: reshapeCases,
  slice: sliceCases,
  upsample: upsampleCases,
}
