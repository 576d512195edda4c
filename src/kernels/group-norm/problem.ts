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

// In units of the first-order bound of rounding (ops/moments.ts). Sums run over at least 16 accumulators or in two levels, so
// their error stays near one such unit (0.7 seen); 8 leaves room for a GPU's inverseSqrt. f16: one store, a whole ulp at worst.
export const tolerance = { f32: 8, f16: 1.25 }
