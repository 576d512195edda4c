// What a graph needs of the host's memory when ONNX Runtime runs it, as a lower bound: enough to refuse what cannot work.
import type { Graph } from './backend-contract.ts'

const bytesOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 4)

/** The largest sum of a node's operands and result, in bytes, attention's logits included: they are all alive at once. */
export function leastHostBytes(graph: Graph): number {
  let peak = 0
  for (const node of graph.nodes) {
    const values = new Set([...node.inputs, node.output])
    const operands = [...values].reduce((sum, value) => sum + bytesOf(value.shape), 0)
    peak = Math.max(peak, operands + logitBytes(node.op.name, node.attrs, node.inputs))
  }
  return peak
}

/** ONNX Runtime's CPU provider keeps the whole matrix of queries and keys. */
function logitBytes(op: string, attrs: unknown, inputs: Graph['nodes'][number]['inputs']): number {
  if (op !== 'attention') return 0
  const [q, k] = inputs
  const { heads } = attrs as { heads: number }
  return bytesOf([q!.shape[0]!, heads, q!.shape[1]!, k!.shape[1]!])
}
