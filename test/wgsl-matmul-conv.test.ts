// Products and convolutions on SwiftShader against f64 loops: every variant with every tuning row it supports there, in
// every storage that runs there, with padded strides and offsets. The null backend compiles the rest (native f16, GPU rows).
import { describe, expect, test } from 'vitest'
import { binary, type Expr, input, siluExpr, unary } from '../src/graph/expr.ts'
import { conv2dFamily } from '../src/kernels/conv2d/family.ts'
import type { Capabilities, Family, Operand, Request, Storage } from '../src/kernels/family.ts'
import { directMatmul } from '../src/kernels/matmul/direct.ts'
import { matmulFamily } from '../src/kernels/matmul/family.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { gpuCapabilities, operand, runKernel, softwareCapabilities, stored, validateOnNull } from './gpu.ts'

interface Case<A> {
  readonly name: string
  readonly attrs: A
  readonly inputs: readonly { readonly shape: readonly number[]; readonly weight?: boolean }[]
  readonly output: readonly number[]
  readonly epilogue?: { readonly expr: Expr; readonly shapes: readonly (readonly number[])[] }
  /** Extra elements of four channels between rows of arena operands, and before them. */
  readonly gap?: number
}

interface Expected {
  readonly values: Float64Array
  readonly scale: Float64Array
}

let seed = 7
/** A fixed sequence in [-1, 1). */
function random(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 31 - 1
  })
}

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

function erf(x: number): number {
  // The series of erf, exact to f64 for the small arguments used here.
  let term = x
  let sum = x
  for (let i = 1; i < 200; i++) {
    term *= (-x * x) / i
    sum += term / (2 * i + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

const gelu = (x: number) => (x / 2) * (1 + erf(x * Math.SQRT1_2))

/** Value and Σ|terms| of the epilogue at an element. */
function evaluate(expr: Expr, inputs: readonly (readonly [number, number])[]): [number, number] {
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

function matmulReference({ attrs, inputs, output }: Case<MatmulAttrs>, data: readonly Float32Array[]): Expected {
  const n = output.at(-1)!
  const m = output.at(-2)!
  const k = inputs[0]!.shape.at(attrs.transposeA ? -2 : -1)!
  const columns = attrs.gate ? 2 * n : n
  const [a, b, bias] = data as [Float32Array, Float32Array, Float32Array | undefined]
  const values = new Float64Array(size(output))
  const scale = new Float64Array(values.length)
  const batched = b.length > columns * k
  for (let row = 0; row < values.length / n; row++) {
    const batch = Math.floor(row / m)
    const dot = (j: number) => {
      let [sum, terms] = [bias?.[j] ?? 0, Math.abs(bias?.[j] ?? 0)]
      for (let i = 0; i < k; i++) {
        const left = a[attrs.transposeA ? (batch * k + i) * m + (row % m) : row * k + i]!
        const right = b[(batched ? batch * columns * k : 0) + (attrs.transposeB ? j * k + i : i * columns + j)]!
        sum += left * right
        terms += Math.abs(left * right)
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

function convReference({ attrs, inputs, output }: Case<Conv2dAttrs>, data: readonly Float32Array[]): Expected {
  const [, h, w, c] = inputs[0]!.shape as [number, number, number, number]
  const [o, , kh, kw] = inputs[1]!.shape as [number, number, number, number]
  const [n, oh, ow] = output as [number, number, number, number]
  const [x, weight, bias] = data as [Float32Array, Float32Array, Float32Array | undefined]
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
        if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue
        for (let i = 0; i < c; i++) {
          const term = x[((image * h + iy) * w + ix) * c + i]! * weight[((channel * c + i) * kh + ky) * kw + kx]!
          sum += term
          terms += Math.abs(term)
        }
      }
    }
    values[at] = sum
    scale[at] = terms
  }
  return { values, scale }
}

/** Element `at` of the output, in an epilogue input broadcast to it. */
function broadcastIndex(shape: readonly number[], output: readonly number[], at: number): number {
  let index = 0
  let stride = 1
  for (let axis = output.length - 1, rest = at; axis >= 0; rest = Math.floor(rest / output[axis]!), axis--) {
    const own = shape[axis - output.length + shape.length] ?? 1
    if (own > 1) index += (rest % output[axis]!) * stride
    stride *= own
  }
  return index
}

function requestOf<A>(c: Case<A>, storage: Storage, weightStorage: Storage, capabilities: Capabilities): Request<A> {
  let slot = 0
  const arena = (shape: readonly number[]): Operand => {
    const gap = c.gap ?? 0
    return operand({
      shape,
      slot: slot++,
      storage,
      offset4: gap,
      stride4: Math.ceil((shape.at(-1) ?? 1) / 4) + gap,
    })
  }
  const inputs = c.inputs.map(({ shape, weight }) =>
    weight ? operand({ shape, slot: slot++, storage: weightStorage, space: 'weight' }) : arena(shape),
  )
  const epilogue = c.epilogue && { expr: c.epilogue.expr, inputs: c.epilogue.shapes.map(arena) }
  return { attrs: c.attrs, inputs, output: arena(c.output), ...(epilogue && { epilogue }), capabilities }
}

const epsilon = (storage: Storage) => (storage === 'f32' ? 2 ** -23 : 2 ** -10)

function check<A>(
  family: Family<A>,
  c: Case<A>,
  reference: (c: Case<A>, data: readonly Float32Array[]) => Expected,
  kind: 'software' | 'gpu' = 'software',
) {
  const raw = c.inputs.map(({ shape }) => random(size(shape)))
  const rawEpilogue = c.epilogue?.shapes.map((shape) => random(size(shape))) ?? []
  const mixes = [
    ['f32', 'f32'],
    ['f32', 'f16-packed'],
    ['f16-packed', 'f16-packed'],
  ] as const
  for (const variant of family.variants) {
    // Barriers in loops compile slowly on SwiftShader: of the GPU rows, the last (the smallest tile) stands for all there.
    const rows = kind === 'software' ? variant.tunings.software : variant.tunings.gpu.slice(-1)
    rows.forEach((params, row) => {
      const probe = requestOf(c, 'f32', 'f32', softwareCapabilities)
      if (!variant.supports(probe, params)) return
      for (const [storage, weightStorage] of row === 0 && kind === 'software' ? mixes : mixes.slice(0, 1)) {
        test(`${c.name}: ${variant.name} ${JSON.stringify(params)} ${storage}/${weightStorage}`, async () => {
          const request = requestOf(c, storage, weightStorage, softwareCapabilities)
          const data = raw.map((values, i) => stored(values, request.inputs[i]!.storage))
          const epilogue = rawEpilogue.map((values) => stored(values, storage))
          const plain = reference(c, data)
          const got = await runKernel(variant.emit(request, params), request, {
            inputs: data,
            epilogue,
            prepare: (index) => variant.prepare?.(request, params, index),
          })
          let worst = { ratio: 0, text: '' }
          for (let i = 0; i < got.length; i++) {
            let [want, scale] = [plain.values[i]!, plain.scale[i]!]
            if (c.epilogue) {
              const others = c.epilogue.shapes.map((shape, e) => {
                const value = epilogue[e]![broadcastIndex(shape, c.output, i)]!
                return [value, Math.abs(value)] as const
              })
              ;[want, scale] = evaluate(c.epilogue.expr, [[want, scale], ...others])
            }
            const ratio = Math.abs(got[i]! - want) / (epsilon(storage) * scale)
            // NaN must not pass.
            if (!(ratio <= worst.ratio))
              worst = { ratio, text: `[${i}] got ${got[i]}, want ${want}, Σ|terms| ${scale}` }
          }
          expect(worst.ratio, worst.text).toBeLessThan(variant.tolerance[storage === 'f32' ? 'f32' : 'f16'])
        })
      }
    })
  }
}

const addResidual = binary('add', input(0), input(1))
const plain = { transposeA: false, transposeB: true }

const products: Case<MatmulAttrs>[] = [
  {
    name: 'linear 2×37×24 → 20, bias',
    attrs: plain,
    inputs: [{ shape: [2, 37, 24] }, { shape: [20, 24], weight: true }, { shape: [20], weight: true }],
    output: [2, 37, 20],
    gap: 1,
  },
  {
    name: 'linear 13×7 → 5 with [n, 1, c] and [n, t, 1] added, silu',
    attrs: plain,
    inputs: [{ shape: [2, 13, 7] }, { shape: [5, 7], weight: true }],
    output: [2, 13, 5],
    epilogue: {
      expr: siluExpr(binary('add', binary('add', input(0), input(1)), binary('mul', input(2), input(3)))),
      shapes: [[2, 1, 5], [2, 13, 1], [5]],
    },
    gap: 2,
  },
  {
    name: 'whole tiles, 64×64 → 64',
    attrs: plain,
    inputs: [{ shape: [1, 64, 64] }, { shape: [64, 64], weight: true }, { shape: [64], weight: true }],
    output: [1, 64, 64],
  },
  {
    name: 'one row, 1×66 → 9',
    attrs: plain,
    inputs: [{ shape: [1, 66] }, { shape: [9, 66], weight: true }, { shape: [9], weight: true }],
    output: [1, 9],
  },
  {
    name: 'weight [k, n], 6×10 → 11',
    attrs: { transposeA: false, transposeB: false },
    inputs: [{ shape: [6, 10] }, { shape: [10, 11], weight: true }],
    output: [6, 11],
  },
  {
    name: 'gate, 2×9×12 → 16',
    attrs: { ...plain, gate: 'gelu' },
    inputs: [{ shape: [2, 9, 12] }, { shape: [32, 12], weight: true }, { shape: [32], weight: true }],
    output: [2, 9, 16],
  },
  {
    name: 'gate with odd halves, 5×6 → 7, residual',
    attrs: { ...plain, gate: 'gelu' },
    inputs: [{ shape: [5, 6] }, { shape: [14, 6], weight: true }, { shape: [14], weight: true }],
    output: [5, 7],
    epilogue: { expr: addResidual, shapes: [[5, 7]] },
  },
  {
    name: 'batched a·bᵀ, 3×11×10 · 3×7×10',
    attrs: plain,
    inputs: [{ shape: [3, 11, 10] }, { shape: [3, 7, 10] }],
    output: [3, 11, 7],
    gap: 1,
  },
  {
    name: 'batched a·b, 3×11×7 · 3×7×10',
    attrs: { transposeA: false, transposeB: false },
    inputs: [{ shape: [3, 11, 7] }, { shape: [3, 7, 10] }],
    output: [3, 11, 10],
    gap: 1,
  },
  {
    name: 'batched aᵀ·b, 3×7×11 · 3×7×10',
    attrs: { transposeA: true, transposeB: false },
    inputs: [{ shape: [3, 7, 11] }, { shape: [3, 7, 10] }],
    output: [3, 11, 10],
    gap: 1,
  },
  {
    name: 'batched aᵀ·bᵀ, 2×8×5 · 2×6×8',
    attrs: { transposeA: true, transposeB: true },
    inputs: [{ shape: [2, 8, 5] }, { shape: [2, 6, 8] }],
    output: [2, 5, 6],
  },
  {
    name: 'aᵀ · weight, 2×9×6 → 5',
    attrs: { transposeA: true, transposeB: true },
    inputs: [{ shape: [2, 9, 6] }, { shape: [5, 9], weight: true }],
    output: [2, 6, 5],
  },
  {
    name: 'one b for all batches, in the arena, 2×5×9 · 9×6',
    attrs: { transposeA: false, transposeB: false },
    inputs: [{ shape: [2, 5, 9] }, { shape: [9, 6] }],
    output: [2, 5, 6],
  },
]

const same = { stride: 1, padding: [1, 1, 1, 1] } as const

function conv(
  [n, h, w, c]: readonly [number, number, number, number],
  [o, kh, kw]: readonly [number, number, number],
  attrs: Conv2dAttrs,
  rest: Partial<Case<Conv2dAttrs>> = {},
): Case<Conv2dAttrs> {
  const [top, right, bottom, left] = attrs.padding
  const oh = Math.floor((h + top + bottom - kh) / attrs.stride) + 1
  const ow = Math.floor((w + left + right - kw) / attrs.stride) + 1
  return {
    name: `${kh}×${kw} stride ${attrs.stride} pad ${attrs.padding}, ${n}×${h}×${w}×${c} → ${o}`,
    attrs,
    inputs: [{ shape: [n, h, w, c] }, { shape: [o, c, kh, kw], weight: true }, { shape: [o], weight: true }],
    output: [n, oh, ow, o],
    ...rest,
  }
}

const withTime: Partial<Case<Conv2dAttrs>> = {
  epilogue: {
    expr: binary('add', binary('add', input(0), input(1)), input(2)),
    shapes: [
      [2, 1, 1, 10],
      [2, 5, 11, 10],
    ],
  },
  gap: 1,
}

const convolutions: Case<Conv2dAttrs>[] = [
  conv([2, 5, 11, 8], [10, 3, 3], same, withTime),
  conv([1, 7, 1, 3], [3, 3, 3], same),
  conv([1, 1, 13, 4], [5, 3, 3], same),
  conv([1, 9, 10, 6], [8, 3, 3], { stride: 2, padding: [1, 1, 1, 1] }),
  conv([1, 8, 8, 5], [7, 3, 3], { stride: 2, padding: [0, 1, 1, 0] }, { gap: 2 }),
  conv([2, 4, 5, 12], [9, 1, 1], { stride: 1, padding: [0, 0, 0, 0] }, { gap: 1 }),
  conv([1, 6, 6, 4], [4, 1, 1], { stride: 2, padding: [0, 0, 0, 0] }),
  conv([1, 9, 9, 4], [6, 2, 5], { stride: 1, padding: [1, 2, 0, 1] }),
  conv([1, 16, 16, 3], [8, 8, 8], { stride: 8, padding: [0, 0, 0, 0] }),
  conv([1, 17, 19, 20], [36, 3, 3], same),
]

describe('matmul on SwiftShader', () => {
  for (const c of products) check(matmulFamily, c, matmulReference)
  for (const at of [0, 1, 2, 6, 7, 8]) check(matmulFamily, products[at]!, matmulReference, 'gpu')
})

describe('conv2d on SwiftShader', () => {
  for (const c of convolutions) check(conv2dFamily, c, convReference)
  for (const at of [0, 1, 4, 5, 7]) check(conv2dFamily, convolutions[at]!, convReference, 'gpu')
})

describe('functions of trees on SwiftShader', () => {
  // A product with a 1 by 1 weight of one passes x on to the epilogue.
  const values = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 500)
  const apply = async (expr: Expr, xs: Float32Array) => {
    const c: Case<MatmulAttrs> = {
      name: '',
      attrs: plain,
      inputs: [{ shape: [xs.length, 1] }, { shape: [1, 1], weight: true }],
      output: [xs.length, 1],
      epilogue: { expr, shapes: [] },
    }
    const request = requestOf(c, 'f32', 'f32', softwareCapabilities)
    const variant = directMatmul
    const params = variant.tunings.software[2]!
    return runKernel(variant.emit(request, params), request, {
      inputs: [xs, Float32Array.of(1)],
      prepare: (index) => variant.prepare?.(request, params, index),
    })
  }

  test.each([
    ['erf', erf, 2e-7],
    ['sigmoid', sigmoid, 2e-7],
    ['tanh', Math.tanh, 1e-6],
  ] as const)('%s', async (fn, exact, bound) => {
    const got = await apply(unary(fn, input(0)), values)
    let worst = 0
    values.forEach((x, i) => {
      const error = Math.abs(got[i]! - exact(x))
      if (!(error <= worst)) worst = error
    })
    expect(worst).toBeLessThan(bound)
  })

  test.each([
    ['erf', -1, 1],
    ['sigmoid', 0, 1],
    ['tanh', -1, 1],
  ] as const)('%s far out', async (fn, low, high) => {
    const got = await apply(unary(fn, input(0)), Float32Array.of(-3e38, -200, 200, 3e38))
    const want = [low, low, high, high]
    got.forEach((value, i) => {
      expect(Math.abs(value - want[i]!)).toBeLessThan(1e-7)
    })
  })
})

describe('text on the null backend', () => {
  const compile = <A>(family: Family<A>, c: Case<A>) => {
    for (const variant of family.variants) {
      const texts = (['f32', 'f16', 'f16-packed'] as const).flatMap((storage) => {
        const request = requestOf(c, storage, storage, gpuCapabilities)
        return [...variant.tunings.software, ...variant.tunings.gpu]
          .filter((params) => variant.supports(request, params))
          .flatMap((params) =>
            variant
              .emit(request, params)
              .dispatches.map(({ wgsl }) => ({ wgsl, of: JSON.stringify({ params, storage }) })),
          )
      })
      if (texts.length === 0) continue
      test(`${family.op} ${variant.name}, ${c.name}: ${texts.length} texts`, async () => {
        for (const { wgsl, of } of texts) expect(await validateOnNull(wgsl), of).toEqual([])
      })
    }
  }
  for (const c of products) compile(matmulFamily, c)
  for (const c of convolutions) compile(conv2dFamily, c)
})
