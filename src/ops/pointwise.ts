// Pointwise functions: one op for all, the function is an expression tree.
import { binary, constant, type Expr, geluExpr, input, quickGeluExpr, siluExpr } from '../graph/expr.ts'
import type { Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef, Shape } from '../graph/op.ts'
import type { PointwiseAttrs } from './attrs.ts'
import { compileExpr } from './expr-reference.ts'
import { shapeError } from './shape-error.ts'
import { broadcastIndex, broadcastShapes, elementCount } from './shapes.ts'

/** Where a node without parameters belongs: to the module of its first computed input. */
export function scopeOf(inputs: readonly Value[]): string {
  return inputs.find((value) => value.node)?.node?.scope ?? ''
}

/** `expr` over `inputs`, which broadcast as numpy does; ranks ≥ 4 only with equal ranks or rank 1. */
export function pointwise(expr: Expr, inputs: readonly Value[]): Value {
  return inputs[0]!.graph.add(pointwiseOp, inputs, { expr }, scopeOf(inputs))
}

export const add = (a: Value, b: Value): Value => pointwise(binary('add', input(0), input(1)), [a, b])
export const mul = (a: Value, b: Value): Value => pointwise(binary('mul', input(0), input(1)), [a, b])
export const scaleBy = (x: Value, factor: number): Value => pointwise(binary('mul', input(0), constant(factor)), [x])
export const silu = (x: Value): Value => pointwise(siluExpr(input(0)), [x])
export const gelu = (x: Value): Value => pointwise(geluExpr(input(0)), [x])
export const quickGelu = (x: Value): Value => pointwise(quickGeluExpr(input(0)), [x])

export const pointwiseOp: OpDef<PointwiseAttrs> = {
  name: 'pointwise',

  infer(inputs, { expr }, where) {
    const shapes = inputs.map((each) => each.shape)
    const shape = broadcastShapes(shapes, where)
    const mixed = shapes.find((each) => shape.length > 3 && each.length !== shape.length && each.length > 1)
    if (mixed) shapeError(where, `[${mixed}] meets [${shape}]: images only combine with images and channel vectors`)
    const missing = inputsOf(expr).find((index) => index >= inputs.length)
    if (missing !== undefined) shapeError(where, `the function uses input ${missing}, there are ${inputs.length}`)
    return { shape, kind: 'float' }
  },

  cost(_inputs, { expr }, output) {
    return { macs: 0, operations: operationsOf(expr) * elementCount(output.shape) }
  },

  reference(inputs, { expr }, { shape }) {
    const evaluate = compileExpr(expr)
    const indices = inputs.map((each) => broadcastIndex(each.shape, shape))
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let i = 0; i < data.length; i++) {
      const result = evaluate(
        inputs.map((each, k) => {
          const value = each.data[indices[k]![i]!]!
          return { value, error: Math.abs(value) }
        }),
      )
      data[i] = result.value
      scale[i] = result.error
    }
    return { shape, data, scale }
  },

  onnx(writer, names, { expr }, inputs, output) {
    return lowerExpr(
      writer,
      expr,
      names,
      inputs.map((each) => each.shape),
      output.shape,
    )
  },
}

/** Distinct subtrees, operands before operators. */
function subtrees(expr: Expr, seen = new Set<Expr>()): Set<Expr> {
  if (seen.has(expr)) return seen
  if (expr.kind === 'unary') subtrees(expr.x, seen)
  if (expr.kind === 'binary') {
    subtrees(expr.a, seen)
    subtrees(expr.b, seen)
  }
  return seen.add(expr)
}

function inputsOf(expr: Expr): number[] {
  return [...subtrees(expr)].flatMap((e) => (e.kind === 'input' ? [e.index] : []))
}

/** Arithmetic operations of one evaluation; a transcendental function counts as eight. */
export function operationsOf(expr: Expr): number {
  let count = 0
  for (const e of subtrees(expr)) count += e.kind === 'binary' ? 1 : e.kind === 'unary' ? (e.fn === 'neg' ? 1 : 8) : 0
  return count
}

const onnxNames = {
  neg: 'Neg',
  exp: 'Exp',
  tanh: 'Tanh',
  erf: 'Erf',
  sigmoid: 'Sigmoid',
  sqrt: 'Sqrt',
  add: 'Add',
  sub: 'Sub',
  mul: 'Mul',
  div: 'Div',
  min: 'Min',
  max: 'Max',
} as const

/** Writes the tree as ONNX nodes over values `names` of `shapes`, which broadcast to `target`. */
export function lowerExpr(
  writer: OnnxWriter,
  expr: Expr,
  names: readonly string[],
  shapes: readonly Shape[],
  target: Shape,
): string {
  // Channel vectors broadcast on their own where channels are last; in channels-first images they need spatial axes.
  const operands = names.map((name, i) => {
    const shape = shapes[i]!
    if (target.length < 4 || shape.length === target.length || elementCount(shape) === 1) return name
    return writer.node('Reshape', [name, writer.int64([shape[0]!, ...target.slice(1, -1).map(() => 1)])])
  })
  const known = new Map<Expr, string>()
  for (const e of subtrees(expr)) {
    switch (e.kind) {
      case 'input':
        known.set(e, operands[e.index]!)
        break
      case 'const':
        known.set(e, writer.float([e.value], []))
        break
      case 'unary':
        known.set(e, writer.node(onnxNames[e.fn], [known.get(e.x)!]))
        break
      case 'binary':
        known.set(e, writer.node(onnxNames[e.fn], [known.get(e.a)!, known.get(e.b)!]))
        break
    }
  }
  return known.get(expr)!
}
