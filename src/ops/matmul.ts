// Matrix products: linear layers (weight in the state dict's layout), GEGLU, and batched products.
import type { Scope, Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef, RefResult, RefTensor, Shape, TensorType } from '../graph/op.ts'
import type { MatmulAttrs } from './attrs.ts'
import { asFloat, float16 } from './channel-moments.ts'
import { geluOf } from './expr-reference.ts'
import { type MatmulOperands, matmulOperands } from './matmul-operands.ts'
import { fromChannelsLast, toChannelsLast } from './onnx-layout.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount, sameShape } from './shapes.ts'

/** x [..., k] → [..., outFeatures]; parameters `weight` [outFeatures, k] and `bias` [outFeatures]. */
export function linear(g: Scope, x: Value, outFeatures: number, options: { readonly bias?: boolean } = {}): Value {
  return g.add(matmulOp, linearInputs(g, x, outFeatures, options.bias ?? true), { transposeA: false, transposeB: true })
}

/** GEGLU: x [..., k] → [..., outFeatures] = value · gelu(gate); parameters `weight` [2·outFeatures, k] and `bias`. */
export function geglu(g: Scope, x: Value, outFeatures: number, options: { readonly bias?: boolean } = {}): Value {
  const inputs = linearInputs(g, x, 2 * outFeatures, options.bias ?? true)
  return g.add(matmulOp, inputs, { transposeA: false, transposeB: true, gate: 'gelu' })
}

function linearInputs(g: Scope, x: Value, features: number, bias: boolean): Value[] {
  const weight = g.param('weight', [features, x.shape.at(-1)!])
  return bias ? [x, weight, g.param('bias', [features])] : [x, weight]
}

/** a [..., m, k] · b [..., k, n] → [..., m, n]; either operand may be stored transposed. */
export function matmul(
  a: Value,
  b: Value,
  options: Partial<Pick<MatmulAttrs, 'transposeA' | 'transposeB'>> = {},
): Value {
  const { transposeA = false, transposeB = false } = options
  return a.graph.add(matmulOp, [a, b], { transposeA, transposeB }, scopeOf([a, b]))
}

interface Sizes {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly batch: Shape
}

/** m, n, k and the batch axes; n is the number of b's rows, both halves of a gated product included. */
function sizesOf(inputs: readonly { readonly shape: Shape }[], { transposeA, transposeB }: MatmulAttrs): Sizes {
  const [a, b] = inputs as readonly [{ shape: Shape }, { shape: Shape }]
  const rank = a.shape.length
  // A vector per batch element ([n, c] images of one row) is a matrix whose rows are the batch.
  const [m, k] = [a.shape[rank - (transposeA ? 1 : 2)] ?? 1, a.shape[rank - (transposeA ? 2 : 1)]!]
  return { m, k, n: b.shape.at(transposeB ? -2 : -1)!, batch: a.shape.slice(0, -2) }
}

export const matmulOp: OpDef<MatmulAttrs> = {
  name: 'matmul',

  infer(inputs, attrs, where) {
    const { a, b, bias, norm } = matmulOperands<TensorType | undefined>(inputs, attrs)
    if (!a || !b || a.shape.length < 2 || b.shape.length < 2)
      return shapeError(where, `a product takes matrices, not [${a?.shape}] and [${b?.shape}]`)
    const { m, n, k, batch } = sizesOf([a, b], attrs)
    const inner = b.shape.at(attrs.transposeB ? -1 : -2)
    if (inner !== k) shapeError(where, `[${a.shape}] has ${k} features, the weight [${b.shape}] takes ${inner}`)
    if (b.shape.length > 2 && !sameShape(b.shape.slice(0, -2), batch))
      shapeError(where, `the batches of [${a.shape}] and [${b.shape}] differ`)
    if (bias && !sameShape(bias.shape, [n]))
      shapeError(where, `the bias is [${bias.shape}], the weight makes ${n} features`)
    if (attrs.gate && n % 2 !== 0) shapeError(where, `a gated product needs an even number of features, not ${n}`)
    if (norm) checkNorm(a, norm, attrs, where)
    return { shape: [...batch, m, attrs.gate ? n / 2 : n], kind: 'float' }
  },

  cost(inputs, attrs, output) {
    const { m, n, k, batch } = sizesOf(inputs, attrs)
    const macs = elementCount(batch) * m * n * k
    const elements = elementCount(output.shape)
    const { bias, norm } = matmulOperands(inputs, attrs)
    const operations =
      (bias ? elementCount(batch) * m * n : 0) +
      (attrs.gate ? 10 * elements : 0) +
      (norm ? 4 * elementCount(batch) * m * k : 0)
    return { macs, operations }
  },

  reference(inputs, attrs, { shape }) {
    const plain = product(inputs, attrs)
    if (!attrs.gate) return { shape, ...plain }
    const half = shape.at(-1)!
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let i = 0; i < data.length; i++) {
      const row = Math.floor(i / half) * 2 * half + (i % half)
      const [value, gate] = [plain.data[row]!, plain.data[row + half]!]
      const gelu = geluOf(gate)
      data[i] = value * gelu
      // First order: δ(v·gelu(g)) ≤ |gelu(g)|·δv + |v|·|gelu'|·δg, and |gelu'| ≤ 1.13.
      scale[i] = Math.abs(gelu) * plain.scale[row]! + 1.13 * Math.abs(value) * plain.scale[row + half]!
    }
    return { shape, data, scale }
  },

  onnx(writer, names, attrs, inputs, output) {
    const { n } = sizesOf(inputs, attrs)
    const { a: plainA, b, bias, norm } = matmulOperands(names, attrs)
    const a = norm ? normalisedName(writer, plainA, norm, inputs[0]!.shape) : plainA
    const result: TensorType = { shape: [...output.shape.slice(0, -1), n], kind: 'float' }
    const plain =
      inputs[1]!.shape.length === 2 && !attrs.transposeA
        ? shared(writer, a, b, bias, attrs, inputs[0]!, result)
        : batched(writer, a, b, bias, attrs, inputs, result)
    if (!attrs.gate) return fromChannelsLast(writer, plain, output.shape)
    const [value, gate] = [0, 1].map((part) =>
      writer.node('Slice', [
        plain,
        writer.int64([(part * n) / 2]),
        writer.int64([((part + 1) * n) / 2]),
        writer.int64([-1]),
      ]),
    ) as [string, string]
    const gated = writer.node('Mul', [value, writer.node('Gelu', [gate])])
    return fromChannelsLast(writer, gated, output.shape)
  },
}

type Norm<T> = NonNullable<MatmulOperands<T>['norm']>

function checkNorm(
  a: TensorType,
  { moments, gamma, beta }: Norm<TensorType | undefined>,
  { transposeA }: MatmulAttrs,
  where: string,
): void {
  if (transposeA) shapeError(where, `rows of [${a.shape}] are normalised as they lie: it must not be transposed`)
  const channels = a.shape.at(-1)!
  if (!moments || !sameShape(moments.shape, [...a.shape.slice(0, -1), 2]))
    shapeError(where, `[${moments?.shape}] are no moments of the rows of [${a.shape}]`)
  for (const each of [gamma, beta])
    if (!each || !sameShape(each.shape, [channels])) shapeError(where, `[${each?.shape}] for ${channels} channels`)
}

/** (x − mean) · scale · gamma + beta, and the sum of its |terms|. */
function normalisedRows(x: RefTensor, { moments, gamma, beta }: Norm<RefTensor>): Pick<RefResult, 'data' | 'scale'> {
  const channels = gamma.data.length
  const data = new Float64Array(x.data.length)
  const scale = new Float64Array(data.length)
  for (let i = 0; i < data.length; i++) {
    const [row, c] = [Math.floor(i / channels), i % channels]
    const [mean, rstd] = [moments.data[2 * row]!, moments.data[2 * row + 1]!]
    data[i] = (x.data[i]! - mean) * rstd * gamma.data[c]! + beta.data[c]!
    scale[i] = (Math.abs(x.data[i]!) + Math.abs(mean)) * Math.abs(rstd * gamma.data[c]!) + Math.abs(beta.data[c]!)
  }
  return { data, scale }
}

/** The same in ONNX, in f32 until it is stored, as LayerNormalization does it. */
function normalisedName(writer: OnnxWriter, x: string, { moments, gamma, beta }: Norm<string>, shape: Shape): string {
  const rows = asFloat(writer, toChannelsLast(writer, x, shape))
  const both = asFloat(writer, toChannelsLast(writer, moments, [...shape.slice(0, -1), 2]))
  const [mean, rstd] = [0, 1].map((index) =>
    writer.node('Slice', [both, ...[index, index + 1, -1].map((each) => writer.int64([each]))]),
  ) as [string, string]
  const scaled = writer.node('Mul', [writer.node('Sub', [rows, mean]), rstd])
  const shaped = writer.node('Mul', [scaled, asFloat(writer, gamma)])
  const result = writer.node('Add', [shaped, asFloat(writer, beta)])
  const stored = writer.floatType === 'float' ? result : writer.node('Cast', [result], { to: { int: float16 } })
  return fromChannelsLast(writer, stored, shape)
}

/** Sums and sums of |terms|, both halves of a gated product side by side. */
function product(inputs: readonly RefTensor[], attrs: MatmulAttrs): { data: Float64Array; scale: Float64Array } {
  const { a, b, bias, norm } = matmulOperands(inputs, attrs)
  const { m, n, k, batch } = sizesOf(inputs, attrs)
  const left = norm ? normalisedRows(a, norm) : { data: a.data, scale: a.data.map(Math.abs) }
  const matrices = elementCount(batch)
  const data = new Float64Array(matrices * m * n)
  const scale = new Float64Array(data.length)
  const [rowA, stepA] = attrs.transposeA ? [1, m] : [k, 1]
  const [columnB, stepB] = attrs.transposeB ? [k, 1] : [1, n]
  for (let matrix = 0; matrix < matrices; matrix++) {
    const startB = b.shape.length > 2 ? matrix * n * k : 0
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = bias ? bias.data[j]! : 0
        let terms = Math.abs(sum)
        for (let l = 0; l < k; l++) {
          const [at, factor] = [matrix * m * k + i * rowA + l * stepA, b.data[startB + j * columnB + l * stepB]!]
          sum += left.data[at]! * factor
          terms += left.scale[at]! * Math.abs(factor)
        }
        const at = (matrix * m + i) * n + j
        data[at] = sum
        scale[at] = terms
      }
  }
  return { data, scale }
}

/** One matrix for all batches: Gemm, which packs the weight as the file stores it and adds the bias. */
function shared(
  writer: OnnxWriter,
  a: string,
  b: string,
  bias: string | undefined,
  { transposeB }: MatmulAttrs,
  x: TensorType,
  result: TensorType,
): string {
  let rows = toChannelsLast(writer, a, x.shape)
  if (x.shape.length !== 2) rows = writer.node('Reshape', [rows, writer.int64([-1, x.shape.at(-1)!])])
  const product = writer.node('Gemm', bias ? [rows, b, bias] : [rows, b], { transB: { int: transposeB ? 1 : 0 } })
  return x.shape.length === 2 ? product : writer.node('Reshape', [product, writer.int64(result.shape)])
}

function batched(
  writer: OnnxWriter,
  a: string,
  b: string,
  bias: string | undefined,
  attrs: MatmulAttrs,
  inputs: readonly TensorType[],
  result: TensorType,
): string {
  const operand = (name: string, { shape }: TensorType, transposed: boolean) => {
    const rows = toChannelsLast(writer, name, shape)
    if (!transposed) return rows
    const perm = shape.map((_, axis) => axis)
    perm.push(...perm.splice(-2).reverse())
    return writer.node('Transpose', [rows], { perm: { ints: perm } })
  }
  const product = writer.node('MatMul', [
    operand(a, inputs[0]!, attrs.transposeA),
    operand(b, inputs[1]!, attrs.transposeB),
  ])
  return bias && result.shape.length > 0 ? writer.node('Add', [product, bias]) : product
}
