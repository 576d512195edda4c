// The sizes of a group normalisation, as both variants see them.
import type { GroupNormAttrs } from '../../ops/attrs.ts'
import type { Request } from '../family.ts'

export interface GroupNormProblem {
  readonly n: number
  /** Rows (pixels) a picture. */
  readonly pixels: number
  readonly channels: number
  readonly groups4: number
  /** Groups of the normalisation, and channels in each. */
  readonly groups: number
  readonly width: number
}

export function groupNormProblem({ attrs, output }: Request<GroupNormAttrs>): GroupNormProblem {
  const n = output.shape[0]!
  return {
    n,
    pixels: output.rows / n,
    channels: output.channels,
    groups4: output.groups4,
    groups: attrs.groups,
    width: output.channels / attrs.groups,
  }
}

// Sums of up to 10^6 terms over at least 64 accumulators, or in two levels of at most some hundreds: below 30 ulps of the
// scale (|x| + |mean|) · rstd · |gamma| + |beta|, mostly 2. f16: one store, and the inputs are exact.
export const tolerance = { f32: 8, f16: 1.25 }
