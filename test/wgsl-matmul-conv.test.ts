// Products and convolutions on SwiftShader against f64 loops: every variant with every tuning row it supports there, in
// every storage that runs there, with padded strides and offsets. The null backend compiles the rest (native f16, GPU rows).
// Tunings and storages take turns among the cases (thinning.ts); their full product is PHOSPHENE_TEST_FULL=1's, and
// bench/gpu/kernels.ts's, on a GPU.
import { describe, expect, test } from 'vitest'
import { binary, type Expr, input, siluExpr, unary } from '../src/graph/expr.ts'
import { conv2dFamily } from '../src/kernels/conv2d/family.ts'
import type { Capabilities, Family, Operand, Request, Storage, Variant } from '../src/kernels/family.ts'
import { directMatmul } from '../src/kernels/matmul/direct.ts'
import { matmulFamily } from '../src/kernels/matmul/family.ts'
import { withSharedTexts } from '../src/kernels/wgsl/shared-text.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import {
  gpuCapabilities,
  lavapipeCapabilities,
  operand,
  runKernel,
  softwareCapabilities,
  stored,
  validateOnNull,
} from './gpu.ts'
import {
  broadcastIndex,
  type Case,
  convReference,
  type Expected,
  erf,
  evaluate,
  matmulReference,
  normalisedConv,
  random,
  sigmoid,
  size,
} from './product-reference.ts'
import { everything, itsTurn } from './thinning.ts'

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
  const output = c.inPlace ? epilogue!.inputs.at(-1)! : arena(c.output)
  return { attrs: c.attrs, inputs, output, ...(epilogue && { epilogue }), capabilities }
}

const onCpus = <P>({
  tunings: { software, lavapipe = [] },
}: {
  tunings: Variant<never, P>['tunings']
}): readonly P[] => [...software, ...lavapipe]

const epsilon = (storage: Storage) => (storage === 'f32' ? 2 ** -23 : 2 ** -10)

function check<A>(
  family: Family<A>,
  c: Case<A>,
  reference: (c: Case<A>, data: readonly Float32Array[]) => Expected,
  at: number,
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
    const probe = requestOf(c, 'f32', 'f32', softwareCapabilities)
    const rows = (kind === 'gpu' ? variant.tunings.gpu.slice(-1) : onCpus(variant)).filter((params) =>
      variant.supports(probe, params),
    )
    rows.forEach((params, row) => {
      // One tuning in f32, and the first in another storage, another one each time.
      const own = mixes.filter((_, mix) =>
        mix === 0 ? itsTurn(at + row, rows.length) : row === 0 && kind === 'software' && itsTurn(at, 2, mix - 1),
      )
      for (const [storage, weightStorage] of own) {
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
    inPlace: true,
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
  const up = attrs.upsample ?? 1
  const oh = Math.floor((up * h + top + bottom - kh) / attrs.stride) + 1
  const ow = Math.floor((up * w + left + right - kw) / attrs.stride) + 1
  return {
    name: `${kh}×${kw} stride ${attrs.stride} pad ${attrs.padding}, ${n}×${h}×${w}×${c}${up === 2 ? ' doubled' : ''} → ${o}`,
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
  inPlace: true,
}

const doubledWithTime: Partial<Case<Conv2dAttrs>> = {
  ...withTime,
  epilogue: {
    expr: withTime.epilogue!.expr,
    shapes: [
      [2, 1, 1, 10],
      [2, 6, 10, 10],
    ],
  },
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
  conv([2, 3, 5, 7], [10, 3, 3], { ...same, upsample: 2 }, doubledWithTime),
  conv([1, 5, 4, 8], [9, 3, 3], { stride: 1, padding: [-1, 1, 0, 1], upsample: 2 }, { gap: 1 }),
  normalisedConv(conv([2, 7, 6, 11], [10, 3, 3], same, { gap: 1 })),
]

describe('matmul on SwiftShader', () => {
  products.forEach((c, at) => {
    check(matmulFamily, c, matmulReference, at)
  })
  for (const at of everything ? products.keys() : [1, 3, 6, 8])
    check(matmulFamily, products[at]!, matmulReference, 0, 'gpu')
})

describe('conv2d on SwiftShader', () => {
  convolutions.forEach((c, at) => {
    check(conv2dFamily, c, convReference, at)
  })
  for (const at of everything ? convolutions.keys() : [0, 4, 5, 7])
    check(conv2dFamily, convolutions[at]!, convReference, 0, 'gpu')
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
  const seen = new Set<string>()
  const compile = <A>(family: Family<A>, c: Case<A>) => {
    for (const variant of family.variants) {
      const texts = [gpuCapabilities, lavapipeCapabilities].flatMap((capabilities) =>
        (['f32', 'f16', 'f16-packed'] as const).flatMap((storage) => {
          const request = requestOf(c, storage, storage, capabilities)
          const emit = (params: unknown) => {
            const kernel = variant.emit(request, params)
            return capabilities.kind === 'gpu' ? kernel : withSharedTexts(kernel)
          }
          return [...onCpus(variant), ...variant.tunings.gpu]
            .filter((params) => variant.supports(request, params))
            .flatMap((params) =>
              emit(params).dispatches.map(({ wgsl }) => ({ wgsl, of: JSON.stringify({ params, storage }) })),
            )
            .filter(({ wgsl }) => !seen.has(wgsl) && seen.add(wgsl))
        }),
      )
      if (texts.length === 0) continue
      test(`${family.op} ${variant.name}, ${c.name}: ${texts.length} texts`, async () => {
        for (const { wgsl, of } of texts) expect(await validateOnNull(wgsl), of).toEqual([])
      })
    }
  }
  for (const c of products) compile(matmulFamily, c)
  for (const c of convolutions) compile(conv2dFamily, c)
})
