// Computes the pictures of a batch one after the other where that saves memory: what lies between two values that others read
// as well (a transformer, an enlargement with its convolution) needs room for one picture then. Comes after fusion.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { ReshapeAttrs } from '../ops/attrs.ts'
import { joinRows } from '../ops/join-rows.ts'
import { reshape } from '../ops/reshape.ts'
import { elementCount } from '../ops/shapes.ts'
import { sliceRows } from '../ops/slice-rows.ts'
import { operandsOf } from './held.ts'
import { type Rewriting, rewrite } from './rewrite.ts'

/**
 * Splits what ends in a result of more elements than the largest one's divided by `down`, where more lives on the way to it:
 * 8 is one level of a UNet, since its widest layers are four times as wide as their results, 32 the next as well.
 */
export function splitImages(graph: Graph, down: 8 | 32): Graph {
  const largest = Math.max(0, ...graph.nodes.map(({ output }) => elementCount(output.shape)))
  const readers = new Map<Value, Set<Node>>()
  for (const node of graph.nodes)
    for (const value of operandsOf(node)) readers.set(value, (readers.get(value) ?? new Set()).add(node))
  const returned = new Set(graph.outputs.values())
  const stretches = new Map<Node, ReadonlySet<Node>>()
  const inside = new Set<Node>()
  for (const end of graph.nodes.toReversed()) {
    if (inside.has(end) || !isOfImages(end.output) || down * elementCount(end.output.shape) <= largest) continue
    const stretch = stretchTo(end, graph, readers, returned)
    const most = Math.max(...[...stretch].map(({ output }) => elementCount(output.shape)))
    if (stretch.size < 2 || most < 2 * elementCount(end.output.shape)) continue
    stretches.set(end, stretch)
    for (const node of stretch) inside.add(node)
  }
  return rewrite(graph, (node, to) => {
    const stretch = stretches.get(node)
    if (stretch) return apart(node, stretch, graph, to)
    return inside.has(node) ? 'drop' : undefined
  })
}

const isOfImages = ({ shape, origin }: Value): boolean =>
  origin !== 'param' && origin !== 'constant' && shape.length > 1 && shape[0]! > 1

/** The node and all before it that nothing outside reads, as long as results are no smaller than its own. */
function stretchTo(
  end: Node,
  { nodes }: Graph,
  readers: ReadonlyMap<Value, ReadonlySet<Node>>,
  returned: ReadonlySet<Value>,
): ReadonlySet<Node> {
  const stretch = new Set([end])
  const images = end.output.shape[0]
  const least = elementCount(end.output.shape)
  for (const node of nodes.slice(0, nodes.indexOf(end)).toReversed()) {
    const { output } = node
    const large = output.shape[0] === images && elementCount(output.shape) >= least
    const own = large && isOfImages(output) && !returned.has(output)
    const mine = [...(readers.get(output) ?? [])]
    if (own && mine.length > 0 && mine.every((reader) => stretch.has(reader))) stretch.add(node)
  }
  return stretch
}

function apart(end: Node, stretch: ReadonlySet<Node>, { nodes }: Graph, to: Rewriting): Value {
  const images = end.output.shape[0]!
  const results = Array.from({ length: images }, (_, image) => {
    const made = new Map<Value, Value>()
    const value = (old: Value): Value => {
      const known = made.get(old) ?? (isOfImages(old) ? imageOf(to.value(old), image) : to.value(old))
      made.set(old, known)
      return known
    }
    for (const node of nodes) {
      if (!stretch.has(node)) continue
      const { op, inputs, epilogue, scope } = node
      const copied = epilogue && { expr: epilogue.expr, inputs: epilogue.inputs.map(value) }
      made.set(node.output, to.graph.add(op, inputs.map(value), ofOne(node) as never, scope, copied))
    }
    return made.get(end.output)!
  })
  return fromImages(results, end.output)
}

/** A node's attributes for a batch of one. */
function ofOne({ op, attrs }: Node): unknown {
  if (op.name !== 'reshape') return attrs
  const { shape } = attrs as ReshapeAttrs
  return { shape: [1, ...shape.slice(1)] } satisfies ReshapeAttrs
}

/** Picture `image` of a batch, as a batch of one. Lies within it, so it costs nothing. */
function imageOf(batch: Value, image: number): Value {
  const [images, rows, ...rest] = batch.shape as [number, number, ...number[]]
  if (rest.length === 0) return reshape(sliceRows(reshape(batch, [1, images, rows]), image, image + 1), [1, rows])
  return sliceRows(reshape(batch, [1, images * rows, ...rest]), image * rows, (image + 1) * rows)
}

function fromImages(images: readonly Value[], { shape }: Value): Value {
  if (shape.length === 2) return reshape(joinRows(images.map((each) => reshape(each, [1, 1, shape[1]!]))), shape)
  return reshape(joinRows(images), shape)
}
