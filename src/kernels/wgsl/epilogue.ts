// The epilogue of a kernel: its inputs loaded at (row, group) with broadcasting settled in the text, then the expression tree.
import type { Expr } from '../../graph/expr.ts'
import type { Shape } from '../../graph/op.ts'
import type { Operand, Request } from '../family.ts'
import { exprFunction, mathText } from './expr.ts'
import { sizeText } from './number.ts'

/**
 * A WGSL expression (vec4<f32>) for operand `name` at (row, group) of `output`, broadcast as numpy does: shapes are
 * right-aligned, dimensions of 1 repeat. `row` and `group` are WGSL expressions of type u32.
 */
export function broadcastLoad(name: string, operand: Operand, output: Shape, row: string, group: string): string {
  const from = broadcastRow(operand.shape, output, row)
  return operand.channels === 1 && output[output.length - 1] !== 1
    ? `vec4<f32>(load_${name}(${from}, 0u).x)`
    : `load_${name}(${from}, ${group})`
}

/** The row of an operand of shape `shape` that belongs to row `row` of `output`. */
function broadcastRow(shape: Shape, output: Shape, row: string): string {
  const outer = output.slice(0, -1)
  const lead = output.length - shape.length
  const terms: string[] = []
  let outputStride = 1
  let stride = 1
  let axis = outer.length - 1
  while (axis >= 0) {
    // A run of neighbouring dimensions, all repeated or all the operand's own.
    const repeats = (a: number) => a < lead || shape[a - lead] === 1
    const repeated = repeats(axis)
    let size = 1
    for (; axis >= 0 && (repeats(axis) === repeated || outer[axis] === 1); axis--) size *= outer[axis]!
    if (!repeated && size > 1) {
      let term = outputStride === 1 ? row : `${row} / ${sizeText(outputStride)}`
      if (axis >= 0) term = `(${term}) % ${sizeText(size)}`
      terms.push(stride === 1 ? `(${term})` : `(${term}) * ${sizeText(stride)}`)
      stride *= size
    }
    outputStride *= size
  }
  return terms.length === 0 ? '0u' : terms.join(' + ')
}

/**
 * `fn epilogue(row, group, result) -> vec4<f32>`: what is stored for `result` at (row, group) of the output; the identity
 * when the request has none. Epilogue inputs are the operands e0, e1, … of `requestOperands`. The functions that trees call
 * come with it: for the trees `others` of the module as well.
 */
export function epilogueText<A>(request: Request<A>, others: readonly Expr[] = []): string {
  const head = 'fn epilogue(row: u32, group: u32, result: vec4<f32>) -> vec4<f32>'
  if (!request.epilogue) return `${mathText(others)}${head} { return result; }`
  const { expr, inputs } = request.epilogue
  const loads = inputs.map((operand, i) => broadcastLoad(`e${i}`, operand, request.output.shape, 'row', 'group'))
  return `${mathText([expr, ...others])}${exprFunction('epilogueValue', expr, inputs.length + 1)}
${head} {
  return epilogueValue(${['result', ...loads].join(', ')});
}`
}
