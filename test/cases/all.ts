// Every case by op; the compiler finds an op that has none.
import type { OpName } from '../../src/ops/ops.ts'
import { cases as attention } from './attention.ts'
import type { OpCase } from './case.ts'
import { cases as conv2d } from './conv2d.ts'
import { cases as matmul } from './matmul.ts'
import {
  concatCases,
  embeddingCases,
  joinRowsCases,
  reshapeCases,
  sliceCases,
  sliceRowsCases,
  upsampleCases,
} from './movement.ts'
import {
  channelMomentsCases,
  groupMomentsCases,
  groupNormCases,
  layerNormCases,
  normaliseCases,
  rowMomentsCases,
} from './norms.ts'
import { cases as pointwise } from './pointwise.ts'

export const allCases: Readonly<Record<OpName, readonly OpCase[]>> = {
  attention,
  channelMoments: channelMomentsCases,
  concat: concatCases,
  conv2d,
  embedding: embeddingCases,
  groupMoments: groupMomentsCases,
  groupNorm: groupNormCases,
  joinRows: joinRowsCases,
  layerNorm: layerNormCases,
  matmul,
  normalise: normaliseCases,
  pointwise,
  reshape: reshapeCases,
  rowMoments: rowMomentsCases,
  slice: sliceCases,
  sliceRows: sliceRowsCases,
  upsample: upsampleCases,
}
