// Kernels by measured time, where estimates were measured against: what was not measured keeps its estimate, scaled to match.
import type { Candidate } from '../kernels/choose.ts'

/** Nanoseconds by candidate (`candidateName`); infinite for what the device cannot compile. */
export type Times = ReadonlyMap<string, number>

/** The part of the favourite's time below which another kernel takes its place: less may be noise. */
const decisive = 0.97

/** Names a candidate among those of its request. */
export function candidateName({ variant, params }: Pick<Candidate, 'variant' | 'params'>): string {
  return `${variant} ${JSON.stringify(params)}`
}

/**
 * The candidates, cheapest first, at what they took. Which kernel is the favourite, that others have to beat clearly, and by how
 * much estimates of this request are off, both is told by the likeliest of those that were measured.
 */
export function byMeasurement(candidates: readonly Candidate[], times: Times): readonly Candidate[] {
  const timeOf = (candidate: Candidate) => times.get(candidateName(candidate))
  const favourite = candidates.find((candidate) => Number.isFinite(timeOf(candidate)))
  if (!favourite) return candidates
  const scale = timeOf(favourite)! / favourite.cost
  return candidates
    .map((candidate) => {
      const cost = timeOf(candidate) ?? candidate.cost * scale
      return { measured: { ...candidate, cost }, rank: candidate === favourite ? decisive * cost : cost }
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ measured }) => measured)
}

/** Candidates beyond this many times the cheapest estimate, and beyond this number, are not worth measuring. */
const worthMeasuring = { cost: 2.5, count: 4 }

/** Those that may turn out to be the fastest, likeliest first, of those whose scratch fits. One of them alone needs no measuring. */
export function likeliest(candidates: readonly Candidate[], roomBytes: number): readonly Candidate[] {
  const found: Candidate[] = []
  for (const candidate of candidates) {
    if (found.length === worthMeasuring.count) break
    if (found.length > 0 && candidate.cost > worthMeasuring.cost * found[0]!.cost) break
    if (candidate.scratch().reduce((sum, bytes) => sum + bytes, 0) <= roomBytes) found.push(candidate)
  }
  return found
}
