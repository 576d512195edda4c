// Feed-forward layers in chunks of rows: the hidden layer, four times as wide as what goes in and comes out, is only ever
// there for some of the tokens. Costs the weights' second reading. Comes after fusion, whose nodes it looks for.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { MatmulAttrs } from '../ops/attrs.ts'
import { joinRows } from '../ops/join-rows.ts'
import { reshape } from '../ops/reshape.ts'
import { elementCount, sameShape } from '../ops/shapes.ts'
import { sliceRows } from '../ops/slice-rows.ts'
import { countUses, type Rewriting, rewrite } from './rewrite.ts'

/** Two products one behind the other, and the norm before them where nothing else reads it. */
interface FeedForward {
  readonly norm: Node | undefined
  readonly first: Node
  readonly second: Node
}

/** Cuts the largest feed-forward layers, and those more than half as large, into `chunks` of rows each. */
export function chunkFeedForward(graph: Graph, chunks: number): Graph {
  const layers = feedForwards(graph)
  const hidden = ({ first }: FeedForward) => elementCount(first.output.shape)
  const largest = Math.max(0, ...layers.map(hidden))
  const cut = new Map(layers.filter((each) => 2 * hidden(each) > largest).map((each) => [each.second, each]))
  const inside = new Set([...cut.values()].flatMap(({ norm, first }) => (norm ? [norm, first] : [first])))
  return rewrite(graph, (node, to) => {
    if (inside.has(node)) return 'drop'
    const layer = cut.get(node)
    return layer && inChunks(layer, chunks, to)
  })
}

export function hasFeedForward(graph: Graph): boolean {
  return feedForwards(graph).length > 0
}

function feedForwards(graph: Graph): FeedForward[] {
  const uses = countUses(graph)
  const found: FeedForward[] = []
  for (const second of graph.nodes) {
    const first = second.inputs[0]?.node
    if (!isLinear(second) || !first || !isLinear(first) || uses.get(first.output) !== 1) continue
    const wide = first.output.shape.at(-1)! > second.output.shape.at(-1)!
    const operands = second.epilogue?.inputs ?? []
    if (!wide || first.epilogue || !operands.every((each) => ofRows(each, second) || sharedByRows(each))) continue
    const before = first.inputs[0]!.node
    const norm = before?.op.name === 'layerNorm' && !before.epilogue && uses.get(before.output) === 1
    found.push({ norm: norm ? before : undefined, first, second })
  }
  return found
}

/** A product with one weight for all rows. */
function isLinear({ op, attrs, inputs }: Node): boolean {
  return op.name === 'matmul' && !(attrs as MatmulAttrs).transposeA && inputs[1]!.shape.length === 2
}

const ofRows = ({ shape }: Value, node: Node): boolean => sameShape(shape, node.output.shape)
const sharedByRows = ({ shape }: Value): boolean => shape.slice(0, -1).every((size) => size === 1)

function inChunks({ norm, first, second }: FeedForward, chunks: number, to: Rewriting): Value {
  const rows = elementCount(second.output.shape.slice(0, -1))
  const flat = (old: Value) => reshape(to.value(old), [1, rows, old.shape.at(-1)!])
  const x = flat((norm ?? first).inputs[0]!)
  const others = (second.epilogue?.inputs ?? []).map((each) => (ofRows(each, second) ? flat(each) : to.value(each)))
  const again = (node: Node, input: Value, epilogue?: Node['epilogue']): Value => {
    const inputs = [input, ...node.inputs.slice(1).map(to.value)]
    return to.graph.add(node.op, inputs, node.attrs as never, node.scope, epilogue)
  }
  const parts = Array.from({ length: chunks }, (_, i) => {
    const [start, end] = [i, i + 1].map((k) => Math.round((rows * k) / chunks)) as [number, number]
    let h = sliceRows(x, start, end)
    if (norm) h = again(norm, h)
    h = again(first, h)
    const inputs = others.map((each) => (each.shape[1] === rows ? sliceRows(each, start, end) : each))
    return again(second, h, second.epilogue && { expr: second.epilogue.expr, inputs })
  })
  return reshape(joinRows(parts), second.output.shape)
}
