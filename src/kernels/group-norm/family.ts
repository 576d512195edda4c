// Group normalisation: one workgroup a group, or the statistics split over the whole device.
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Family } from '../family.ts'
import { singleGroupNorm } from './single.ts'
import { splitGroupNorm } from './split.ts'

export const groupNormFamily: Family<GroupNormAttrs> = { op: 'groupNorm', variants: [singleGroupNorm, splitGroupNorm] }
