// A component's plan step by step: for reports that show more than sums.
import type { Graph } from '../graph/graph.ts'
import { removeDeadCode } from '../passes/dead-code.ts'
import { type OptimiseOptions, optimiseInParts } from '../passes/passes.ts'
import type { ArenaPlan, ArenaTensor } from '../plan/plan.ts'
import type { ModelComponent } from './components.ts'
import { type Unfused, unfusedSteps } from './unfused.ts'

export interface PlanStep {
  readonly scope: string
  readonly op: string
  readonly variant: string
  readonly shape: readonly number[]
  readonly macs: number
  readonly bytes: number
  readonly dispatches: number
  /** Bytes of the arena that are alive. */
  readonly liveBytes: number
}

export interface PassEffect {
  readonly pass: string
  readonly nodesBefore: number
  readonly nodesAfter: number
  /** Change in the number of nodes, by op. */
  readonly changes: Readonly<Record<string, number>>
}

export interface ComponentDetails {
  readonly steps: readonly PlanStep[]
  /** Who lives where in the arena, between which steps (both included). */
  readonly arena: readonly ArenaTensor[]
  /** The step at which most bytes are alive. */
  readonly peakStep: number
  readonly passes: readonly PassEffect[]
  readonly unfused: readonly Unfused[]
}

/** Of the run itself; what is computed once a picture is left out. */
export function componentDetails(
  { graph, held }: ModelComponent,
  plan: ArenaPlan,
  options: OptimiseOptions,
): ComponentDetails {
  const passes: PassEffect[] = []
  let before = graph
  optimiseInParts(graph, held, {
    ...options,
    onPass(pass, made) {
      if (made.name !== graph.name) return // the prelude's
      // Passes leave behind what nothing reads any more, until the last one.
      const after = removeDeadCode(made)
      passes.push({
        pass,
        nodesBefore: before.nodes.length,
        nodesAfter: after.nodes.length,
        changes: changes(before, after),
      })
      before = after
    },
  })
  const live = plan.steps.map((_, i) =>
    plan.arena.reduce((sum, { first, last, sizeBytes }) => sum + (first <= i && i <= last ? sizeBytes : 0), 0),
  )
  return {
    steps: plan.steps.map(({ node, variant, macs, bytesMoved, dispatches }, i) => ({
      scope: node.scope,
      op: node.op.name,
      variant,
      shape: node.output.shape,
      macs,
      bytes: bytesMoved,
      dispatches: dispatches.length,
      liveBytes: live[i]!,
    })),
    arena: plan.arena,
    peakStep: live.indexOf(Math.max(...live)),
    passes,
    unfused: unfusedSteps(plan),
  }
}

function changes(before: Graph, after: Graph): Record<string, number> {
  const counts = new Map<string, number>()
  const add = (graph: Graph, by: 1 | -1) => {
    for (const { op } of graph.nodes) counts.set(op.name, (counts.get(op.name) ?? 0) + by)
  }
  add(before, -1)
  add(after, 1)
  return Object.fromEntries([...counts].filter(([, change]) => change !== 0))
}
