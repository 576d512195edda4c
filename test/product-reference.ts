// Products and convolutions as plain f64 loops over a case's data, each with its Σ|terms|: what the kernels are held against.
import type { Expr } from '../src/graph/expr.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { convOperands } from '../src/ops/conv-operands.ts'
import { matmulOperands } from '../src/ops/matmul-operands.ts'

export interface Case<A> {
  readonly name: string
  readonly attrs: A
  readonly inputs: readonly { readonly shape: readonly number[]; readonly weight?: boolean }[]
  readonly output: readonly number[]
  readonly epilogue?: { readonly expr: Expr; readonly shapes: readonly (readonly number[])[] }
  /** Extra elements of four channels between rows of arena operands, and before them. */
  readonly gap?: number
  /** The result replaces the last epilogue input: one slot, one binding. */
  readonly inPlace?: boolean
}

export interface Expected {
  readonly values: Float64Array
  readonly scale: Float64Array
}

let seed = 7
/** A fixed sequence in [-1, 1). */
export function random(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 31 - 1
  })
}

export const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

export function erf(x: number): number {
  // The series of erf, exact to f64 for the small arguments used here.
  let term = x
  let sum = x
  for (let i = 1; i < 200; i++) {
    term *= (-x * x) / i
    sum += term / (2 * i + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

export const gelu = (x: number) => (x / 2) * (1 + erf(x * Math.SQRT1_2))

/** Value and Σ|terms| of the epilogue at an element. */
export function evaluate(expr: Expr, inputs: readonly (readonly [number, number])[]): [number, number] {
  switch (expr.kind) {
    case 'input':
      return [...inputs[expr.index]!]
    case 'const':
      return [expr.value, Math.abs(expr.value)]
    case 'unary': {
      const [x, s] = evaluate(expr.x, inputs)
      if (expr.fn !== 'sigmoid') throw new Error(`not used here: ${expr.fn}`)
      return [sigmoid(x), sigmoid(x) + s / 4]
    }
    case 'binary': {
      const [[a, sa], [b, sb]] = [evaluate(expr.a, inputs), evaluate(expr.b, inputs)]
      if (expr.fn === 'add') return [a + b, sa + sb]
      if (expr.fn === 'mul') return [a * b, sa * Math.max(Math.abs(b), sb) + sb * Math.abs(a)]
      throw new Error(`not used here: ${expr.fn}`)
    }
  }
}

/** The product of rows that are normalised as they are loaded. */
export function normalised(c: Case<MatmulAttrs>): Case<MatmulAttrs> {
  const { shape } = c.inputs[0]!
  const vector = { shape: [shape.at(-1)!], weight: true }
  return {
    ...c,
    name: `normalised ${c.name}`,
    attrs: { ...c.attrs, normalised: true },
    inputs: [...c.inputs, { shape: [...shape.slice(0, -1), 2] }, vector, vector],
  }
}

export function matmulReference({ attrs, inputs, output }: Case<MatmulAttrs>, data: readonly Float32Array[]): Expected {
  const n = output.at(-1)!
  const m = output.at(-2)!
  const k = inputs[0]!.shape.at(attrs.transposeA ? -2 : -1)!
  const columns = attrs.gate ? 2 * n : n
  const { a, b, bias, norm } = matmulOperands(data, attrs)
  const values = new Float64Array(size(output))
  const scale = new Float64Array(values.length)
  const batched = b.length > columns * k
  for (let row = 0; row < values.length / n; row++) {
    const batch = Math.floor(row / m)
    const dot = (j: number) => {
      let [sum, terms] = [bias?.[j] ?? 0, Math.abs(bias?.[j] ?? 0)]
      for (let i = 0; i < k; i++) {
        let left = a[attrs.transposeA ? (batch * k + i) * m + (row % m) : row * k + i]!
        let size = Math.abs(left)
        if (norm) {
          const [mean, factor] = [norm.moments[2 * row]!, norm.moments[2 * row + 1]! * norm.gamma[i]!]
          size = (size + Math.abs(mean)) * Math.abs(factor) + Math.abs(norm.beta[i]!)
          left = (left - mean) * factor + norm.beta[i]!
        }
        const right = b[(batched ? batch * columns * k : 0) + (attrs.transposeB ? j * k + i : i * columns + j)]!
        sum += left * right
        terms += size * Math.abs(right)
      }
      return [sum, terms] as const
    }
    for (let j = 0; j < n; j++) {
      const [v, s] = dot(j)
      values[row * n + j] = v
      scale[row * n + j] = s
      if (!attrs.gate) continue
      const [gate, terms] = dot(n + j)
      values[row * n + j] = v * gelu(gate)
      scale[row * n + j] = s * Math.abs(gelu(gate)) + Math.abs(v) * 1.13 * terms
    }
  }
  return { values, scale }
}

/** The convolution of images that are normalised as they are loaded. */
export function normalisedConv(c: Case<Conv2dAttrs>, normalised: 'linear' | 'silu' = 'silu'): Case<Conv2dAttrs> {
  const [n, , , channels] = c.inputs[0]!.shape as [number, number, number, number]
  return {
    ...c,
    name: `normalised ${c.name}`,
    attrs: { ...c.attrs, normalised },
    inputs: [...c.inputs, { shape: [n, 2, channels] }, { shape: [channels], weight: true }],
  }
}

/** Value and Σ|terms| of element `at` of x as the sums take it. */
function convElement({ attrs, inputs }: Case<Conv2dAttrs>, data: readonly Float32Array[], at: number) {
  const { x, norm } = convOperands(data, attrs)
  const value = x[at]!
  if (!norm) return [value, Math.abs(value)] as const
  const [, rows, columns, c] = inputs[0]!.shape as [number, number, number, number]
  const [channel, image] = [at % c, Math.floor(at / (rows * columns * c))]
  const [mean, factor] = [norm.moments[2 * image * c + channel]!, norm.moments[(2 * image + 1) * c + channel]!]
  const beta = norm.beta[channel]!
  const linear = (value - mean) * factor + beta
  const terms = (Math.abs(value) + Math.abs(mean)) * Math.abs(factor) + Math.abs(beta)
  return attrs.normalised === 'linear' ? ([linear, terms] as const) : ([linear * sigmoid(linear), 2 * terms] as const)
}

export function convReference(each: Case<Conv2dAttrs>, data: readonly Float32Array[]): Expected {
  const { attrs, inputs, output } = each
  const [, rows, columns, c] = inputs[0]!.shape as [number, number, number, number]
  const up = attrs.upsample ?? 1
  const [o, , kh, kw] = inputs[1]!.shape as [number, number, number, number]
  const [n, oh, ow] = output as [number, number, number, number]
  const { weight, bias } = convOperands(data, attrs)
  const values = new Float64Array(n * oh * ow * o)
  const scale = new Float64Array(values.length)
  const [top, , , left] = attrs.padding
  for (let at = 0; at < values.length; at++) {
    const channel = at % o
    const [ox, oy, image] = [Math.floor(at / o) % ow, Math.floor(at / o / ow) % oh, Math.floor(at / o / ow / oh)]
    let [sum, terms] = [bias?.[channel] ?? 0, Math.abs(bias?.[channel] ?? 0)]
    for (let ky = 0; ky < kh; ky++) {
      for (let kx = 0; kx < kw; kx++) {
        const [iy, ix] = [oy * attrs.stride + ky - top, ox * attrs.stride + kx - left]
        const [y, x] = [Math.floor(iy / up), Math.floor(ix / up)]
        if (y < 0 || y >= rows || x < 0 || x >= columns) continue
        for (let i = 0; i < c; i++) {
          const [value, size] = convElement(each, data, ((image * rows + y) * columns + x) * c + i)
          const factor = weight[((channel * c + i) * kh + ky) * kw + kx]!
          sum += value * factor
          terms += size * Math.abs(factor)
        }
      }
    }
    values[at] = sum
    scale[at] = terms
  }
  return { values, scale }
}

/** Element `at` of the output, in an epilogue input broadcast to it. */
export function broadcastIndex(shape: readonly number[], output: readonly number[], at: number): number {
  let index = 0
  let stride = 1
  for (let axis = output.length - 1, rest = at; axis >= 0; rest = Math.floor(rest / output[axis]!), axis--) {
    const own = shape[axis - output.length + shape.length] ?? 1
    if (own > 1) index += (rest % output[axis]!) * stride
    stride *= own
  }
  return index
}
