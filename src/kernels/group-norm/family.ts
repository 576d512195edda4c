// Group normalisation: one workgroup a group, or the statistics spread over the whole device.
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { chunkedGroupNorm } from './chunked.ts'
import { singleGroupNorm } from './single.ts'
import { splitGroupNorm } from './split.ts'

export const groupNormFamily: Family<GroupNormAttrs> = {
  op: 'groupNorm',
  variants: [singleGroupNorm, splitGroupNorm, chunkedGroupNorm],
}
