// The passes in their order. Each makes a new graph that computes the same; the checker looks at every one.
import { checkGraph } from '../graph/check.ts'
import type { Graph } from '../graph/graph.ts'
import { shareCommonSubexpressions } from './cse.ts'
import { removeDeadCode } from './dead-code.ts'
import { foldConstants } from './fold-constants.ts'
import { foldUpsample } from './fold-upsample.ts'
import { fuseEpilogue } from './fuse-epilogue.ts'
import { fusePointwise } from './fuse-pointwise.ts'
import { gateProducts } from './gate.ts'
import { groupNormOnLoad } from './group-norm-on-load.ts'
import { mergeSiblingProducts } from './merge-products.ts'
import { normaliseOnLoad } from './normalise-on-load.ts'
import { type Parts, splitPrelude } from './prelude.ts'

export type Pass = (graph: Graph) => Graph

export interface OptimiseOptions {
  /** Whether nodes may be merged (true by default). Off, every layer of the model stays a node, for comparisons. */
  readonly fuse?: boolean | undefined
  /** Whether linear layers of one input may become one, their weights joined at load (true by default, never without `fuse`). */
  readonly merge?: boolean | undefined
  /** Whether products and convolutions may normalise what they load (false by default, never without `fuse`). */
  readonly normaliseOnLoad?: boolean | undefined
  /** Told each pass and the graph that it made, for reports; of a prelude's passes too. */
  readonly onPass?: (pass: string, graph: Graph) => void
}

const simplifying: readonly Pass[] = [foldConstants, shareCommonSubexpressions]
const fusing: readonly Pass[] = [fusePointwise, fuseEpilogue]

/** A graph with the same inputs, outputs and results in fewer nodes. `graph` itself stays as it is. */
export function optimise(graph: Graph, options: OptimiseOptions = {}): Graph {
  return complete(finish(prepare(graph, [], options), options), options)
}

/**
 * The same in two parts: what depends on the inputs `held` alone, to be computed once for as long as they stay, and the rest.
 * The two behave as `Session.hold` and `Session.run` ask. `unfused` is the rest before nodes merged: see `frugalGraphs`.
 */
export function optimiseInParts(
  graph: Graph,
  held: readonly string[],
  options: OptimiseOptions = {},
): Parts & { readonly unfused: Graph } {
  const { graph: rest, prelude } = splitPrelude(prepare(graph, held, options), held)
  for (const part of prelude ? [rest, prelude] : [rest]) checkGraph(part, splitPrelude.name)
  options.onPass?.(splitPrelude.name, rest)
  const finished = (part: Graph) => complete(finish(part, options), options)
  return { graph: finished(rest), prelude: prelude && finished(prelude), unfused: rest }
}

/**
 * What comes before pointwise nodes merge: gating looks for GELU as a node of its own, merged products for what would join them.
 * Enlargements go into their convolutions here, so that a divided graph divides the small images.
 */
export function prepare(
  graph: Graph,
  held: readonly string[],
  { fuse = true, merge = fuse, onPass }: OptimiseOptions,
): Graph {
  checkGraph(graph, 'the model code')
  const mergeProducts = (each: Graph) => mergeSiblingProducts(each, held)
  const joining = fuse ? [gateProducts, ...(merge ? [mergeProducts] : []), foldUpsample] : []
  return run(graph, [...simplifying, ...joining, removeDeadCode], onPass)
}

/** What comes after: in a divided graph, for each band by itself. */
export function finish(graph: Graph, { fuse = true, onPass }: OptimiseOptions): Graph {
  return run(graph, [...(fuse ? fusing : []), removeDeadCode], onPass)
}

/** What comes last, when nothing divides the graph any more: passes that do look for normalisations. */
export function complete(
  graph: Graph,
  { fuse = true, normaliseOnLoad: onLoad = false, onPass }: OptimiseOptions,
): Graph {
  return run(graph, fuse && onLoad ? [normaliseOnLoad, groupNormOnLoad] : [], onPass)
}

function run(graph: Graph, passes: readonly Pass[], onPass: OptimiseOptions['onPass']): Graph {
  let result = graph
  for (const pass of passes) {
    result = pass(result)
    checkGraph(result, pass.name)
    onPass?.(pass.name, result)
  }
  return result
}
