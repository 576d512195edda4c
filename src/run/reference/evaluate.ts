// Runs a graph in f64 with the ops' own plain loops: what tests hold everything else against.
import { PhospheneError } from '../../error.ts'
import type { Graph, Node, Value } from '../../graph/graph.ts'
import type { RefResult, RefTensor } from '../../graph/op.ts'
import { compileExpr } from '../../ops/expr-reference.ts'
import { broadcastIndex } from '../../ops/shapes.ts'

type Elements = ArrayLike<number>

/**
 * All outputs of the graph by name. `scale` bounds what rounding within the last node does (epilogue included), in units
 * of epsilon; errors of earlier nodes are not part of it.
 */
export function evaluate(
  graph: Graph,
  inputs: Readonly<Record<string, Elements>>,
  params: ReadonlyMap<string, Elements>,
): Map<string, RefResult> {
  const values = startValues(graph, inputs, params)
  for (const node of graph.nodes) values.set(node.output, evaluateNode(node, values))
  return outputsOf(graph, values)
}

/** The graph's inputs and parameters, as the first node finds them. */
export function startValues(
  graph: Graph,
  inputs: Readonly<Record<string, Elements>>,
  params: ReadonlyMap<string, Elements>,
): Map<Value, RefTensor> {
  const values = new Map<Value, RefTensor>()
  const put = (value: Value, elements: Elements | undefined) => {
    const count = value.shape.reduce((product, size) => product * size, 1)
    if (elements?.length !== count)
      throw new PhospheneError({
        code: 'internal',
        message: `${graph.name}: ${value.name} has ${elements?.length} elements where [${value.shape}] was expected`,
        fix: `The inputs are ${[...graph.inputs.keys()].join(', ')}.`,
      })
    values.set(value, { shape: value.shape, data: Float64Array.from(elements) })
  }
  for (const value of graph.inputs.values()) put(value, inputs[value.name])
  for (const value of graph.params.values()) put(value, params.get(value.name))
  return values
}

/** One node, its operands taken from `values`. */
export function evaluateNode(node: Node, values: ReadonlyMap<Value, RefTensor>): RefResult {
  const operand = (value: Value): RefTensor =>
    values.get(value) ?? { shape: value.shape, data: Float64Array.from(value.data ?? []) }
  const result = node.op.reference(node.inputs.map(operand), node.attrs as never, node.output)
  return node.epilogue ? withEpilogue(result, node.epilogue.expr, node.epilogue.inputs.map(operand)) : result
}

export function outputsOf(graph: Graph, values: ReadonlyMap<Value, RefTensor>): Map<string, RefResult> {
  const outputs = new Map<string, RefResult>()
  for (const [name, value] of graph.outputs) {
    const tensor = values.get(value)!
    outputs.set(name, { scale: tensor.data.map(Math.abs), ...tensor })
  }
  return outputs
}

function withEpilogue(
  result: RefResult,
  expr: Parameters<typeof compileExpr>[0],
  others: readonly RefTensor[],
): RefResult {
  const compute = compileExpr(expr)
  const indices = others.map((other) => broadcastIndex(other.shape, result.shape))
  const data = new Float64Array(result.data.length)
  const scale = new Float64Array(data.length)
  for (let i = 0; i < data.length; i++) {
    const rest = others.map((other, k) => {
      const value = other.data[indices[k]![i]!]!
      return { value, error: Math.abs(value) }
    })
    const { value, error } = compute([{ value: result.data[i]!, error: result.scale[i]! }, ...rest])
    data[i] = value
    scale[i] = error
  }
  return { shape: result.shape, data, scale }
}
