// Which kernel each step of a plan gets: the cheapest for whose scratch a layout of the arena leaves room; where memory is limited
// and products are what it is paid with, the one with the fewest of those that are not much dearer.
import type { Node } from '../graph/graph.ts'
import type { Candidate, Choice } from '../kernels/choose.ts'
import type { ArenaLayout, FreeSpace } from './arena.ts'
import type { PlanOptions } from './plan.ts'
import type { StepRequest } from './requests.ts'
import { sharedChoices } from './shared-choices.ts'

/** A kernel, and where its scratch lies. */
export interface PlacedKernel {
  readonly candidate: Candidate
  readonly scratch: ReturnType<FreeSpace['fit']>
}

/** What a layout leaves: gaps, and up to where scratch may lie. */
export interface Room {
  readonly space: FreeSpace
  readonly roomBytes: number
}

export interface KernelChoice {
  /** For each request of each step the kernel, or the one that needs the least more where none finds room. */
  chosenIn(layout: ArenaLayout): readonly (readonly PlacedKernel[])[]
  /** What the kernels cost for which a layout leaves room: nanoseconds, or multiply-adds where these are to be few. */
  costIn(layout: ArenaLayout): number
}

export function kernelsFor(
  steps: readonly Node[],
  requests: readonly (readonly StepRequest[])[],
  options: PlanOptions,
  roomIn: (layout: ArenaLayout) => Room,
): KernelChoice {
  const ranked = options.ranked ?? sharedChoices()
  // Beside matrix units the forms that save products lose.
  const savesProducts = options.arenaBytes !== undefined && options.capabilities.matrixShapes.length === 0
  const asked = requests.map((all) =>
    all.map(({ family, request }) => {
      const preferred = options.choose?.(family, request)
      const byCost = frugalOf(ranked(family, request, options.variants?.[family.op]), options.scratchless)
      return { candidates: preferred ? [asCandidate(preferred), ...byCost] : byCost, isFree: !preferred }
    }),
  )
  const near = new Map<Candidate, readonly Candidate[]>() // bands are thousands, of some tens of kinds
  const fewestProducts = (candidates: readonly Candidate[], cheapest: Candidate): readonly Candidate[] => {
    const known = near.get(cheapest) ?? byProducts(candidates, cheapest)
    near.set(cheapest, known)
    return known
  }
  const chosenIn = (layout: ArenaLayout) => {
    const { space, roomBytes } = roomIn(layout)
    const first = (candidates: readonly Candidate[], step: number): PlacedKernel => {
      let best: PlacedKernel | undefined
      for (const candidate of candidates) {
        const scratch = space.fit(step, candidate.scratch())
        if (!best || scratch.end < best.scratch.end) best = { candidate, scratch }
        if (scratch.end <= roomBytes) break
      }
      return best!
    }
    return asked.map((all, step) =>
      all.map(({ candidates, isFree }) => {
        const cheapest = first(candidates, step)
        if (!savesProducts || !isFree || cheapest.scratch.end > roomBytes) return cheapest
        const fewest = first(fewestProducts(candidates, cheapest.candidate), step)
        return fewest.scratch.end <= roomBytes ? fewest : cheapest
      }),
    )
  }
  const costOf = (node: Node, { candidate }: PlacedKernel) => (savesProducts ? macsOf(node, candidate) : candidate.cost)
  return {
    chosenIn,
    costIn: (layout) =>
      chosenIn(layout).reduce(
        (sum, all, step) => all.reduce((total, kernel) => total + costOf(steps[step]!, kernel), sum),
        0,
      ),
  }
}

/** Those without scratch, if that is asked for and there are any. */
function frugalOf(candidates: readonly Candidate[], scratchless = false): readonly Candidate[] {
  if (!scratchless) return candidates
  const frugal = candidates.filter((each) => each.scratch().every((bytes) => bytes === 0))
  return frugal.length > 0 ? frugal : candidates
}

/**
 * Those of up to three times the cost of the cheapest that fits, the fewest products first. Of bands, many and small, launches are most of an
 * estimate; counts of products are certain, and where memory is short they are what is paid with.
 */
function byProducts(candidates: readonly Candidate[], cheapest: Pick<Candidate, 'cost'>): readonly Candidate[] {
  const macs = ({ macs = Number.POSITIVE_INFINITY }: Candidate) => macs
  return candidates.filter(({ cost }) => cost <= 3 * cheapest.cost).sort((a, b) => macs(a) - macs(b) || 0)
}

/** Multiply-adds of the kernel, where they are not the op's own. */
export function macsOf(
  { op, inputs, attrs, output }: Node,
  kernel: { readonly macs?: number | undefined } | undefined,
): number {
  return kernel?.macs ?? op.cost(inputs, attrs as never, output).macs
}

function asCandidate(choice: Choice): Candidate {
  return { ...choice, choice: () => choice, scratch: () => choice.kernel.scratch }
}
