// A group normalisation that only convolutions read becomes two numbers a channel, by which they normalise what they load, through
// the SiLU that follows it: its result never exists. Comes last, since other passes look for the normalisation as a node of its own.
// Saves one writing of the image; costs the arithmetic again for every tap and tile of columns.
import { input, siluExpr } from '../graph/expr.ts'
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { Conv2dAttrs, GroupNormAttrs } from '../ops/attrs.ts'
import { channelMoments } from '../ops/channel-moments.ts'
import { groupMoments } from '../ops/group-moments.ts'
import { exprKey } from './expr-key.ts'
import { operandsOf } from './held.ts'
import { rewrite, takenAlone } from './rewrite.ts'

/** Images of fewer pixels are written in less time than a dispatch takes to begin. */
const leastPixels = 256

/** Rows of an image whose moments are taken together: enough parts for a GPU, few enough for one workgroup to join. */
const partRows = 4

/** What WebGPU promises a stage: the convolution's operands and its result, each with a binding of its own. */
const mostBindings = 8

export function groupNormOnLoad(graph: Graph, pixels = leastPixels): Graph {
  const norms = takenAlone(graph, (node) => isNorm(node, pixels), takes)
  return rewrite(graph, (node, to) => {
    // Stands for the result wherever that is read: by convolutions alone.
    if (norms.has(node)) return statistics(node, to.value)
    const norm = node.inputs[0]?.node
    if (!norm || !norms.has(norm)) return undefined
    const [x, , beta] = norm.inputs as readonly [Value, Value, Value]
    const inputs = [x, ...node.inputs.slice(1), norm.output, beta].map(to.value)
    const normalised = norm.epilogue ? 'silu' : 'linear'
    const attrs: Conv2dAttrs = { ...(node.attrs as Conv2dAttrs), normalised }
    const epilogue = node.epilogue && { expr: node.epilogue.expr, inputs: node.epilogue.inputs.map(to.value) }
    return to.graph.add(node.op, inputs, attrs as never, node.scope, epilogue)
  })
}

function statistics({ inputs, attrs }: Node, to: (value: Value) => Value): Value {
  const [x, gamma] = inputs as readonly [Value, Value, Value]
  const [, height, width] = x.shape as [number, number, number]
  const rows = Math.min(partRows, height)
  return groupMoments(channelMoments(to(x), rows), to(gamma), {
    ...(attrs as GroupNormAttrs),
    pixels: height * width,
    partPixels: rows * width,
  })
}

const silu = exprKey(siluExpr(input(0)))

/** Of images, with nothing after it or SiLU alone. */
function isNorm({ op, inputs, epilogue }: Node, pixels: number): boolean {
  const [, height, width] = inputs[0]?.shape ?? []
  if (op.name !== 'groupNorm' || inputs[0]!.shape.length !== 4 || height! * width! < pixels) return false
  return !epilogue || (epilogue.inputs.length === 0 && exprKey(epilogue.expr) === silu)
}

/** Whether the node is a convolution that reads the norm as its image alone. */
function takes(node: Node, { output }: Node): boolean {
  const { op, attrs, inputs } = node
  if (op.name !== 'conv2d' || inputs[0] !== output || operandsOf(node).lastIndexOf(output) !== 0) return false
  const bindings = operandsOf(node).length + 2 + 1 // moments, beta; the result
  return !(attrs as Conv2dAttrs).normalised && bindings <= mostBindings
}
