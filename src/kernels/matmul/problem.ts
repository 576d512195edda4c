// A product as its kernels see it: sizes, how b lies, and the parts of the text that all variants share.
import { binary, type Expr, geluExpr, input } from '../../graph/expr.ts'
import type { MatmulAttrs } from '../../ops/attrs.ts'
import { matmulOperands } from '../../ops/matmul-operands.ts'
import type { Request } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { exprFunction } from '../wgsl/expr.ts'
import { bindable, type Io, ioText, requestOperands } from '../wgsl/io.ts'
import { matmulNames } from './norm.ts'

export interface Problem {
  /** Products that differ in a; 1 when all rows of a meet the same b. */
  readonly batches: number
  readonly m: number
  readonly n: number
  readonly k: number
  readonly n4: number
  readonly k4: number
  /** 2 with a gate: b then has 2·n columns. */
  readonly halves: 1 | 2
  /** 'packed': a weight in `packMatrix` layout, [k padded to 4][halves][n4]. 'kn', 'nk': rows of channels as they are. */
  readonly b: 'packed' | 'kn' | 'nk'
  readonly bBatched: boolean
  readonly bias: boolean
}

export function problemOf({ attrs, inputs, output }: Request<MatmulAttrs>): Problem {
  const { a, b, bias } = matmulOperands(inputs, attrs)
  const halves = attrs.gate ? 2 : 1
  const n = output.channels
  const k = attrs.transposeA ? a.shape[a.shape.length - 2]! : a.channels
  const bBatched = b.rows > (attrs.transposeB ? halves * n : k)
  const flat = !bBatched && !attrs.transposeA
  const m = flat ? output.rows : output.shape[output.shape.length - 2]!
  return {
    batches: output.rows / m,
    m,
    n,
    k,
    n4: Math.ceil(n / 4),
    k4: Math.ceil(k / 4),
    halves,
    b: b.space === 'weight' ? 'packed' : attrs.transposeB ? 'nk' : 'kn',
    bBatched,
    bias: bias !== undefined,
  }
}

/** What every variant asks: bindings and storages of the device, and halves of a gate that begin at a group of four. */
export function supportedAtAll(request: Request<MatmulAttrs>): boolean {
  const { n, halves, b, bias } = problemOf(request)
  const biasPacked = !bias || request.inputs[2]!.space === 'weight'
  return bindable(request) && (halves === 1 || n % 4 === 0 || (b === 'packed' && biasPacked))
}

const gated: Expr = binary('mul', input(0), geluExpr(input(1)))

/**
 * `fn finish(row, group, v[, gate])`: bias, gate, epilogue and the store of a row's group. For the first half of a gate the
 * bias is at group, for the second at n4 + group (the bias is packed as b is).
 */
export function finishText(request: Request<MatmulAttrs>): string {
  const { n4, halves, bias } = problemOf(request)
  const value = bias ? 'v + at_bias(group)' : 'v'
  const gate = bias ? `gate + at_bias(${n4}u + group)` : 'gate'
  return halves === 1
    ? `${epilogueText(request)}
fn finish(row: u32, group: u32, v: vec4<f32>) {
  store_y(row, group, epilogue(row, group, ${value}));
}`
    : `${epilogueText(request, [gated])}
${exprFunction('gated', gated, 2)}
fn finish(row: u32, group: u32, v: vec4<f32>, gate: vec4<f32>) {
  store_y(row, group, epilogue(row, group, gated(${value}, ${gate})));
}`
}

/** Bindings and accessors, and `finish`. */
export function matmulText(request: Request<MatmulAttrs>): { io: Io; text: string } {
  return { io: ioText(requestOperands(request, matmulNames(request))), text: finishText(request) }
}
