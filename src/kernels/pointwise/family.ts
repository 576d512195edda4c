// An expression tree over broadcast operands. An epilogue is only more tree, so both are printed as one function.
import { type Expr, input, substitute } from '../../graph/expr.ts'
import type { PointwiseAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { broadcastLoad } from '../wgsl/epilogue.ts'
import { exprFunction, mathText } from '../wgsl/expr.ts'
import { requestOperands } from '../wgsl/io.ts'
import { type GatherParams, gatherCost, gatherDispatch, gatherSupports, gatherTunings } from './gather.ts'

/** The node's tree with its epilogue applied: inputs 0 … of the node, then those of the epilogue. */
function wholeTree(request: Request<PointwiseAttrs>): Expr {
  const { attrs, inputs, epilogue } = request
  if (!epilogue) return attrs.expr
  return substitute(epilogue.expr, [attrs.expr, ...epilogue.inputs.map((_, i) => input(inputs.length + i))])
}

function emit(request: Request<PointwiseAttrs>, params: GatherParams): Kernel {
  const names = request.inputs.map((_, i) => `x${i}`)
  const operands = requestOperands(request, names)
  const sources = operands.slice(0, -1)
  const loads = sources.map((o) => broadcastLoad(o.name, o.operand, request.output.shape, 'row', 'group'))
  const expr = wholeTree(request)
  const result = `${mathText([expr])}${exprFunction('combine', expr, sources.length)}
fn result(row: u32, group: u32) -> vec4<f32> {
  return combine(${loads.join(', ')});
}`
  return { dispatches: [gatherDispatch('pointwise', request, params, operands, result)], scratch: [] }
}

const elements: Variant<PointwiseAttrs, GatherParams> = {
  name: 'elements',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: (request, params) => gatherCost(request, params, 8),
  emit,
  // In units of the roundings of the tree's nodes: exp, tanh and division may err by a few ulps each (2 seen). f16: one store.
  tolerance: { f32: 8, f16: 1.25 },
}

export const pointwiseFamily: Family<PointwiseAttrs> = { op: 'pointwise', variants: [elements] }
