// A layer normalisation that only products read becomes two numbers a row, by which they normalise what they load: its result
// never exists. Comes last, since other passes look for the normalisation as a node of its own. Worth it where writing the result
// costs more than normalising it again for every tile of columns: not on CPUs, nor for few rows.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { LayerNormAttrs, MatmulAttrs } from '../ops/attrs.ts'
import { rowMoments } from '../ops/row-moments.ts'
import { elementCount } from '../ops/shapes.ts'
import { operandsOf } from './held.ts'
import { rewrite, takenAlone } from './rewrite.ts'

/** Fewer rows than this are written in less time than a dispatch takes to begin. */
const leastRows = 256

/** What WebGPU promises a stage: the product's operands and its result, each with a binding of its own. */
const mostBindings = 8

export function normaliseOnLoad(graph: Graph, rows = leastRows): Graph {
  const norms = takenAlone(graph, (node) => isNorm(node) && rowsOf(node.output) >= rows, takes)
  return rewrite(graph, (node, to) => {
    // Stands for the result wherever that is read: by products alone.
    if (norms.has(node))
      return rowMoments(to.value(node.inputs[0]!), (node.attrs as LayerNormAttrs).epsilon, node.scope)
    const norm = node.inputs[0]?.node
    if (!norm || !norms.has(norm)) return undefined
    const [x, gamma, beta] = norm.inputs as readonly [Value, Value, Value]
    const inputs = [x, ...node.inputs.slice(1), norm.output, gamma, beta].map(to.value)
    const attrs: MatmulAttrs = { ...(node.attrs as MatmulAttrs), normalised: true }
    const epilogue = node.epilogue && { expr: node.epilogue.expr, inputs: node.epilogue.inputs.map(to.value) }
    return to.graph.add(node.op, inputs, attrs as never, node.scope, epilogue)
  })
}

const rowsOf = ({ shape }: Value): number => elementCount(shape.slice(0, -1))

function isNorm({ op, epilogue, inputs }: Node): boolean {
  return op.name === 'layerNorm' && !epilogue && inputs[0]!.shape.length > 1
}

/** Whether the node is a product with one weight for all rows, and reads the norm as its left operand alone. */
function takes(node: Node, { output }: Node): boolean {
  const { op, attrs, inputs } = node
  if (op.name !== 'matmul' || inputs[0] !== output || operandsOf(node).lastIndexOf(output) !== 0) return false
  const { transposeA, normalised } = attrs as MatmulAttrs
  const bindings = operandsOf(node).length + 3 + 1 // moments, gamma, beta; the result
  return !transposeA && !normalised && inputs[1]!.shape.length === 2 && bindings <= mostBindings
}
