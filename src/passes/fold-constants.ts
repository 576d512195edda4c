// Computes nodes whose inputs are all constants, once, by the op's f64 reference.
import type { Graph } from '../graph/graph.ts'
import type { RefTensor } from '../graph/op.ts'
import { rewrite, stem } from './rewrite.ts'

export function foldConstants(graph: Graph): Graph {
  return rewrite(graph, (node, to) => {
    if (node.epilogue || node.output.kind !== 'float') return undefined
    const tensors: RefTensor[] = []
    for (const input of node.inputs) {
      const { data, shape } = to.value(input)
      if (!data) return undefined
      tensors.push({ shape, data: Float64Array.from(data) })
    }
    const result = node.op.reference(tensors, node.attrs as never, node.output)
    return to.graph.constant(stem(node.output.name), result.shape, Float32Array.from(result.data))
  })
}
