// Products and convolutions on matrix units: numbers with the units emulated on SwiftShader, against f64 loops, for every shape
// of tile at edges of m and n, split or not; and every text on the null backend. Emulated texts take SwiftShader seconds, so the
// shapes take turns among the tiles (thinning.ts); all tunings with every op case are bench/gpu/kernels.ts's, on a GPU.
import { describe, expect, test } from 'vitest'
import { binary, type Expr, input, quickGeluExpr } from '../src/graph/expr.ts'
import { subgroupMatrixConv } from '../src/kernels/conv2d/subgroup-matrix.ts'
import type { Capabilities, Kernel, Operand, Request, Storage, Variant } from '../src/kernels/family.ts'
import { type MatrixParams, workgroupBytes } from '../src/kernels/matmul/matrix-text.ts'
import { matrixTunings } from '../src/kernels/matmul/matrix-variant.ts'
import { subgroupMatrixMatmul } from '../src/kernels/matmul/subgroup-matrix.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { emulatedKernel, workgroupMemory } from './emulated-matrices.ts'
import { gpuCapabilities, operand, runKernel, stored, validateOnNull } from './gpu.ts'
import {
  broadcastIndex,
  type Case,
  convReference,
  type Expected,
  evaluate,
  matmulReference,
  normalised,
  normalisedConv,
  random,
  size,
} from './product-reference.ts'
import { everything, itsTurn } from './thinning.ts'

/** Operands a and b in f16, arena rows `gap` groups apart (even: 128 bits are loaded at once); the rest in `storage`. */
function requestOf<A>(c: Case<A>, storage: Storage, capabilities: Capabilities = gpuCapabilities): Request<A> {
  let slot = 0
  const { gap = 0 } = c
  const arena = (shape: readonly number[], stored: Storage): Operand =>
    operand({ shape, slot: slot++, storage: stored, offset4: gap, stride4: Math.ceil((shape.at(-1) ?? 1) / 4) + gap })
  const inputs = c.inputs.map(({ shape, weight }) =>
    weight ? operand({ shape, slot: slot++, storage: 'f16', space: 'weight' }) : arena(shape, 'f16'),
  )
  const epilogue = c.epilogue && {
    expr: c.epilogue.expr,
    inputs: c.epilogue.shapes.map((shape) => arena(shape, storage)),
  }
  const output = c.inPlace ? epilogue!.inputs.at(-1)! : arena(c.output, storage)
  return { attrs: c.attrs, inputs, output, ...(epilogue && { epilogue }), capabilities }
}

async function expectRight<A>(
  variant: Variant<A, MatrixParams>,
  params: MatrixParams,
  c: Case<A>,
  reference: (c: Case<A>, data: readonly Float32Array[]) => Expected,
  storage: Storage = 'f32',
  spread = 1,
  limits = gpuCapabilities.limits,
): Promise<void> {
  const request = requestOf(c, storage, { ...gpuCapabilities, limits })
  expect(variant.supports(request, params)).toBe(true)
  const data = c.inputs.map(({ shape }) =>
    stored(
      random(size(shape)).map((x) => x * spread),
      'f16',
    ),
  )
  const epilogue = c.epilogue?.shapes.map((shape) => stored(random(size(shape)), storage)) ?? []
  const plain = reference(c, data)
  const got = await runKernel(emulatedKernel(variant.emit(request, params)), request, {
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
    const ratio = Math.abs(got[i]! - want) / ((storage === 'f32' ? 2 ** -23 : 2 ** -10) * scale)
    // NaN must not pass.
    if (!(ratio <= worst.ratio)) worst = { ratio, text: `[${i}] got ${got[i]}, want ${want}, Σ|terms| ${scale}` }
  }
  expect(worst.ratio, worst.text).toBeLessThan(variant.tolerance[storage === 'f32' ? 'f32' : 'f16'])
}

const timeout = 300_000
const linear = { transposeA: false, transposeB: true }
const addOne: Expr = binary('add', input(0), input(1))

/** [2, m / 2, k] · [n, k]ᵀ + bias. */
function product(m: number, n: number, k: number, rest: Partial<Case<MatmulAttrs>> = {}): Case<MatmulAttrs> {
  const columns = rest.attrs?.gate ? 2 * n : n
  return {
    name: `${m}×${k} → ${n}`,
    attrs: linear,
    inputs: [{ shape: [2, m / 2, k] }, { shape: [columns, k], weight: true }, { shape: [columns], weight: true }],
    output: [2, m / 2, n],
    ...rest,
  }
}

const residual = (m: number, n: number): Partial<Case<MatmulAttrs>> => ({
  epilogue: { expr: addOne, shapes: [[2, m / 2, n]] },
  inPlace: true,
  gap: 2,
})

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

const same: Conv2dAttrs = { stride: 1, padding: [1, 1, 1, 1] }
/** A time embedding, [n, 1, 1, o], and the residual that the result replaces. */
const resnet: Partial<Case<Conv2dAttrs>> = {
  epilogue: {
    expr: binary('add', binary('add', input(0), input(1)), input(2)),
    shapes: [
      [2, 1, 1, 24],
      [2, 6, 13, 24],
    ],
  },
  inPlace: true,
  gap: 2,
}

/** Convolutions with whole tiles of k and edges of m and n, in as many splits as their nine taps or their channels allow. */
const convolutions = (tileK: number): readonly (readonly [Case<Conv2dAttrs>, splits: number])[] => [
  [conv([2, 6, 13, tileK], [24, 3, 3], same, resnet), 3],
  [conv([2, 6, 13, tileK], [24, 3, 3], same, resnet), 1],
  [conv([1, 13, 15, 2 * tileK], [16, 3, 3], { stride: 2, padding: [1, 1, 1, 1] }, { gap: 4 }), 2],
  [conv([1, 12, 14, tileK], [40, 3, 3], { stride: 2, padding: [0, 1, 1, 0] }), 1],
  [conv([1, 9, 9, tileK], [8, 2, 5], { stride: 1, padding: [1, 2, 0, 1] }), 2],
  [conv([2, 3, 7, tileK], [16, 3, 3], { stride: 1, padding: [1, 1, -1, 0], upsample: 2 }, { gap: 2 }), 3],
  [conv([2, 9, 10, 2 * tileK], [168, 1, 1], { stride: 1, padding: [0, 0, 0, 0] }, { gap: 2 }), 2],
]

const tiles = matrixTunings.filter(({ splits }) => splits === 1)
const nameOf = ({ tileM, tileN, tileK, subM, subN }: MatrixParams) => `${tileM}×${tileN}×${tileK} of ${subM}×${subN}`

// Barriers compile slowly on SwiftShader: every other tile meets the product, whole or in splits.
const inTurn = tiles.flatMap((params, i) =>
  [1, [2, 3, 4][i % 3]!]
    .filter((_, at) => itsTurn(i + (at === 0 ? 0 : 2), 4))
    .map((splits) => [nameOf(params), splits, params] as const),
)
// 154 rows (2 · 77 tokens) and 168 columns go beyond one tile and leave the last one mostly empty.
test.each(inTurn)('units emulated, %s: product in %i splits', { timeout }, (_, splits, params) => {
  const c = product(154, 168, splits * params.tileK * (splits <= 2 ? 2 : 1), residual(154, 168))
  return expectRight(subgroupMatrixMatmul, { ...params, splits }, c, matmulReference)
})

describe('units emulated', () => {
  const [large, small] = [
    tiles.find(({ tileM, tileN }) => tileM === 128 && tileN === 128)!,
    tiles.find(({ tileM, tileN, tileK }) => tileM + tileN + tileK === 160)!,
  ]

  // The loop nest is the products' own: convolutions meet the smallest tile and, if all is asked for, the one with odd columns.
  const odd = tiles.find(({ tileN }) => tileN === 160)!
  test.each([
    ...convolutions(small.tileK)
      .filter(([, splits], at) => everything || splits > 1 || at === 3)
      .map(([c, splits]) => [c.name, splits, small, c] as const),
    ...convolutions(odd.tileK)
      .slice(0, everything ? 2 : 0)
      .map(([c, splits]) => [`${c.name}, ${nameOf(odd)}`, splits, odd, c] as const),
  ])('convolution %s in %i splits', { timeout }, (_, splits, params, c) =>
    expectRight(subgroupMatrixConv, { ...params, splits }, c, convReference),
  )

  test.each([
    ['quick GELU', product(38, 40, 64, { epilogue: { expr: quickGeluExpr(input(0)), shapes: [] } }), 1],
    ['quick GELU after splits', product(38, 40, 64, { epilogue: { expr: quickGeluExpr(input(0)), shapes: [] } }), 2],
    [
      'no bias, a weight of rows of k',
      {
        ...product(6, 8, 32),
        attrs: { ...linear, transposeB: false },
        inputs: [{ shape: [2, 3, 32] }, { shape: [32, 8], weight: true }],
      },
      1,
    ],
  ] as [string, Case<MatmulAttrs>, number][])('product, %s', { timeout }, (_, c, splits) =>
    expectRight(subgroupMatrixMatmul, { ...small, splits }, c, matmulReference),
  )

  test('f16 results', { timeout }, () =>
    expectRight(
      subgroupMatrixMatmul,
      { ...small, splits: 2 },
      product(154, 72, 64, residual(154, 72)),
      matmulReference,
      'f16',
    ),
  )

  // The units take halves: what is normalised is rounded as it would be if it were stored.
  test.each([
    ['more rows than a tile, residual', normalised(product(70, 40, 128, residual(70, 40))), 1],
    ['in splits, no bias', normalised({ ...product(70, 40, 64), inputs: product(70, 40, 64).inputs.slice(0, 2) }), 2],
    ['gate', normalised(product(38, 40, 32, { attrs: { ...linear, gate: 'gelu' } })), 1],
  ] as [string, Case<MatmulAttrs>, number][])('product normalised on load, %s', { timeout }, (_, c, splits) =>
    expectRight(subgroupMatrixMatmul, { ...small, splits }, c, matmulReference, 'f16', c.attrs.gate ? 0.5 : 1),
  )

  test.each([
    ['silu, in splits', normalisedConv(conv([2, 6, 13, small.tileK], [24, 3, 3], same)), 3],
    [
      'a doubled image',
      normalisedConv(
        conv([2, 3, 7, small.tileK], [16, 3, 3], { ...same, padding: [1, 1, -1, 0], upsample: 2 }),
        'linear',
      ),
      1,
    ],
  ] as [string, Case<Conv2dAttrs>, number][])('convolution normalised on load, %s', { timeout }, (_, c, splits) =>
    expectRight(subgroupMatrixConv, { ...small, splits }, c, convReference, 'f16'),
  )

  // Gates far out would show the reference's erf, a series that cancels.
  test.each(everything ? [large, small] : [small])('product with a gate, %o', { timeout }, (params) =>
    expectRight(
      subgroupMatrixMatmul,
      params,
      product(70, 72, 32, { attrs: { ...linear, gate: 'gelu' }, gap: 2 }),
      matmulReference,
      'f32',
      0.25,
    ),
  )

  test('workgroups to spare add no residual twice', { timeout }, () => {
    const limits = { ...gpuCapabilities.limits, maxComputeWorkgroupsPerDimension: 2 }
    const c = product(154, 168, 32, residual(154, 168))
    const request = requestOf(c, 'f32', { ...gpuCapabilities, limits })
    const [x, y, z] = subgroupMatrixMatmul.emit(request, small).dispatches[0]!.workgroups
    expect(x * y * z).toBeGreaterThan(9)
    return expectRight(subgroupMatrixMatmul, small, c, matmulReference, 'f32', 1, limits)
  })
})

describe('on the null backend', () => {
  const gated: Partial<Case<MatmulAttrs>> = { attrs: { ...linear, gate: 'gelu' } }
  const attempts: readonly (readonly [string, (params: MatrixParams) => Kernel | undefined])[] = [
    ...[
      product(154, 768, 3072, residual(154, 768)),
      product(128, 1280, 1536),
      product(2, 24, 1536),
      product(154, 320, 768, gated),
      normalised(product(154, 320, 768, gated)),
      normalised(product(154, 768, 1536)),
    ].map((c) => [c.name, (params: MatrixParams) => emitted(subgroupMatrixMatmul, params, c)] as const),
    ...[
      ...convolutions(64).map(([c]) => c),
      conv([2, 16, 16, 1280], [1280, 3, 3], same),
      normalisedConv(conv([2, 16, 16, 1280], [1280, 3, 3], same)),
    ].map((c) => [c.name, (params: MatrixParams) => emitted(subgroupMatrixConv, params, c)] as const),
  ]
  test.each(attempts)('every text of %s compiles', { timeout }, async (_, emit) => {
    let compiled = 0
    for (const params of matrixTunings) {
      const kernel = emit(params)
      if (!kernel) continue
      const [first] = kernel.dispatches
      expect(workgroupMemory(first!.wgsl)).toBe(workgroupBytes(params))
      for (const { wgsl } of kernel.dispatches) {
        // The null backend has the least workgroup storage that WebGPU allows: what it counts must be what the tile counts.
        const messages = (await validateOnNull(wgsl)).filter(
          (m) => Number(/total use of workgroup storage \((\d+) bytes\)/.exec(m)?.[1]) !== workgroupBytes(params),
        )
        expect(messages, `${JSON.stringify(params)}\n${wgsl}`).toEqual([])
      }
      compiled++
    }
    expect(compiled).toBeGreaterThan(0)
  })
})

test('only with matrices, f16, whole tiles of k, and memory of its own', () => {
  const request = requestOf(product(154, 768, 768), 'f16')
  const supported = (other: Partial<Request<MatmulAttrs>>) =>
    matrixTunings.some((params) => subgroupMatrixMatmul.supports({ ...request, ...other }, params))
  const [a, b, bias] = request.inputs as [Operand, Operand, Operand]
  expect(supported({})).toBe(true)
  expect(supported({ capabilities: { ...gpuCapabilities, matrixShapes: [] } })).toBe(false)
  expect(supported({ capabilities: { ...gpuCapabilities, subgroupSize: [16, 32] } })).toBe(false)
  expect(supported({ inputs: [{ ...a, storage: 'f32' }, b, bias] })).toBe(false)
  expect(supported({ inputs: [{ ...a, offset4: 1 }, b, bias] })).toBe(false)
  expect(supported({ inputs: [{ ...a, stride4: a.stride4 + 1 }, b, bias] })).toBe(false)
  expect(supported({ inputs: [a, { ...b, space: 'arena' }, bias] })).toBe(false)
  expect(supported({ output: { ...request.output, slot: a.slot } })).toBe(false)
  expect(
    matrixTunings.some((params) => subgroupMatrixMatmul.supports(requestOf(product(154, 768, 72), 'f16'), params)),
  ).toBe(false)
})

function emitted<A>(variant: Variant<A, MatrixParams>, params: MatrixParams, c: Case<A>): Kernel | undefined {
  const request = requestOf(c, 'f16')
  return variant.supports(request, params) ? variant.emit(request, params) : undefined
}
