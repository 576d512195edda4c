// Which parameters of a graph are quantised where quantised weights are asked for: those of products, convolutions and token
// tables. The rule goes by k and by single rows, so that parameters agree with what passes stack of them, and files with graphs.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { QuantisedLayout } from '../kernels/family.ts'
import type { MatmulAttrs } from '../ops/attrs.ts'
import { matrixOf } from '../tensor/quantise.ts'
import { operandsOf } from './views.ts'

/** Shorter sums fill no two blocks, and layers with fewer results (latents, pictures) weigh nothing and show everything. */
const [leastRows, leastColumns] = [64, 8]

function readsQuantised({ op, attrs }: Node, index: number): boolean {
  if (index !== 1) return false
  return op.name === 'embedding' || op.name === 'conv2d' || (op.name === 'matmul' && (attrs as MatmulAttrs).transposeB)
}

/** The parameters that can be quantised: whoever reads them can read them so. */
export function quantisableParams(graph: Graph): ReadonlySet<Value> {
  const quantisable = new Set<Value>()
  const others = new Set<Value>(graph.outputs.values())
  for (const node of graph.nodes)
    for (const [index, value] of operandsOf(node).entries())
      if (value.origin === 'param') (readsQuantised(node, index) ? quantisable : others).add(value)
  for (const value of quantisable) {
    const { rows, columns } = value.shape.length < 2 ? { rows: 0, columns: 0 } : matrixOf(value.shape)
    if (others.has(value) || rows < leastRows || columns < leastColumns) quantisable.delete(value)
  }
  return quantisable
}

/** How the kernels of a node want its quantised weight. */
export function quantisedLayout({ op, attrs, inputs }: Node): QuantisedLayout {
  const { rows, columns } = matrixOf(inputs[1]!.shape)
  if (op.name === 'embedding') return { blocks: 'columns', rows: columns, columns4: rows / 4 }
  const halves = op.name === 'matmul' && (attrs as MatmulAttrs).gate ? 2 : 1
  return { blocks: 'rows', rows, columns4: halves * Math.ceil(columns / halves / 4), halves }
}
