// The passes in their order. Each makes a new graph that computes the same; the checker looks at every one.
import { checkGraph } from '../graph/check.ts'
import type { Graph } from '../graph/graph.ts'
import { shareCommonSubexpressions } from './cse.ts'
import { removeDeadCode } from './dead-code.ts'
import { foldConstants } from './fold-constants.ts'
import { fuseEpilogue } from './fuse-epilogue.ts'
import { fusePointwise } from './fuse-pointwise.ts'
import { gateProducts } from './gate.ts'

export type Pass = (graph: Graph) => Graph

export interface OptimiseOptions {
  /** Whether nodes may be merged (true by default). Off, every layer of the model stays a node, for comparisons. */
  readonly fuse?: boolean
}

const simplifying: readonly Pass[] = [foldConstants, shareCommonSubexpressions]
// Gating looks for GELU as a node of its own, so it comes before pointwise nodes merge.
const fusing: readonly Pass[] = [gateProducts, fusePointwise, fuseEpilogue]

/** A graph with the same inputs, outputs and results in fewer nodes. `graph` itself stays as it is. */
export function optimise(graph: Graph, { fuse = true }: OptimiseOptions = {}): Graph {
  checkGraph(graph, 'the model code')
  let result = graph
  for (const pass of [...simplifying, ...(fuse ? fusing : []), removeDeadCode]) {
    result = pass(result)
    checkGraph(result, pass.name)
  }
  return result
}
