// Tiled products and convolutions on SwiftShader against f64 loops: every tile, whole and with its k shared by several
// workgroups, at edges of m, n and k. Small shapes and the smallest tile are wgsl-matmul-conv.test.ts's business.
import { describe, expect, test } from 'vitest'
import { binary, input } from '../src/graph/expr.ts'
import { tiledConv } from '../src/kernels/conv2d/tiled.ts'
import type { Operand, Request, Storage, Variant } from '../src/kernels/family.ts'
import { tiledMatmul } from '../src/kernels/matmul/tiled.ts'
import { type SplitParams, type TiledParams, tiledTunings } from '../src/kernels/matmul/tiled-text.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { operand, runKernel, softwareCapabilities, stored } from './gpu.ts'
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
import { itsTurn } from './thinning.ts'

interface Storages {
  readonly arena: Storage
  readonly weight: Storage
}

function requestOf<A>(c: Case<A>, { arena, weight }: Storages): Request<A> {
  let slot = 0
  const { gap = 0 } = c
  const inArena = (shape: readonly number[]): Operand =>
    operand({
      ...{ shape, slot: slot++, storage: arena },
      ...{ offset4: gap, stride4: Math.ceil((shape.at(-1) ?? 1) / 4) + gap },
    })
  const inputs = c.inputs.map(({ shape, weight: isWeight }) =>
    isWeight ? operand({ shape, slot: slot++, storage: weight, space: 'weight' }) : inArena(shape),
  )
  const epilogue = c.epilogue && { expr: c.epilogue.expr, inputs: c.epilogue.shapes.map(inArena) }
  const output = c.inPlace ? epilogue!.inputs.at(-1)! : inArena(c.output)
  return { attrs: c.attrs, inputs, output, ...(epilogue && { epilogue }), capabilities: softwareCapabilities }
}

async function expectRight<A>(
  variant: Variant<A, SplitParams>,
  params: SplitParams,
  c: Case<A>,
  reference: (c: Case<A>, data: readonly Float32Array[]) => Expected,
  storages: Storages = { arena: 'f32', weight: 'f32' },
  spread = 1,
): Promise<void> {
  const request = requestOf(c, storages)
  expect(variant.supports(request, params)).toBe(true)
  const data = c.inputs.map(({ shape }, i) =>
    stored(
      random(size(shape)).map((x) => x * spread),
      request.inputs[i]!.storage,
    ),
  )
  const epilogue = c.epilogue?.shapes.map((shape) => stored(random(size(shape)), storages.arena)) ?? []
  const plain = reference(c, data)
  const kernel = variant.emit(request, params)
  expect(kernel.dispatches.length).toBe(params.splits > 1 ? 2 : 1)
  const got = await runKernel(kernel, request, {
    ...{ inputs: data, epilogue },
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
    const ratio = Math.abs(got[i]! - want) / ((storages.arena === 'f32' ? 2 ** -23 : 2 ** -10) * scale)
    // NaN must not pass.
    if (!(ratio <= worst.ratio)) worst = { ratio, text: `[${i}] got ${got[i]}, want ${want}, Σ|terms| ${scale}` }
  }
  expect(worst.ratio, worst.text).toBeLessThan(variant.tolerance[storages.arena === 'f32' ? 'f32' : 'f16'])
}

const timeout = 300_000
const linear = { transposeA: false, transposeB: true }

/** [2, m / 2, k] · [n, k]ᵀ + bias, added to what the result replaces. */
const product = (m: number, n: number, k: number): Case<MatmulAttrs> => ({
  name: `${m}×${k} → ${n}`,
  attrs: linear,
  inputs: [{ shape: [2, m / 2, k] }, { shape: [n, k], weight: true }, { shape: [n], weight: true }],
  output: [2, m / 2, n],
  epilogue: { expr: binary('add', input(0), input(1)), shapes: [[2, m / 2, n]] },
  inPlace: true,
  gap: 1,
})

/** Columns 4·ow: where ow is a multiple of 4, lines of the picture are taken four pixels at a time. */
const conv = (ow: number, c: number, stride = 1): Case<Conv2dAttrs> => ({
  name: `3×3 of stride ${stride}, ${ow} pixels a line, ${c} channels`,
  attrs: { stride, padding: [1, 1, 1, 1] },
  inputs: [{ shape: [2, 9, ow * stride, c] }, { shape: [22, c, 3, 3], weight: true }, { shape: [22], weight: true }],
  output: [2, Math.ceil(9 / stride), ow, 22],
  epilogue: { expr: binary('add', input(0), input(1)), shapes: [[2, 1, 1, 22]] },
  gap: 1,
})

/** A doubled image, its first row left out: 8 lines of `2·w` pixels. */
const doubled = (w: number, c: number): Case<Conv2dAttrs> => ({
  ...conv(2 * w, c),
  attrs: { stride: 1, padding: [-1, 1, 1, 1], upsample: 2 },
  inputs: [{ shape: [2, 5, w, c] }, { shape: [22, c, 3, 3], weight: true }, { shape: [22], weight: true }],
  output: [2, 8, 2 * w, 22],
})

const nameOf = ({ rows, groups, lanesN, lanesM, tileK }: TiledParams) =>
  `${rows}×${groups * 4} of ${lanesM}×${lanesN}, k ${tileK}`
const tiles = tiledTunings.gpu
const small = tiles.at(-1)!

// Barriers compile slowly on SwiftShader: every tile meets a product whole or a convolution in splits, every case some tile.
describe.each(tiles.map((params, i) => [nameOf(params), params, i] as const))('tile %s', (_, params, i) => {
  const { tileK } = params
  // 154 rows and 84 columns go beyond one tile of most and leave the last one partly empty; k ends within a step.
  if (itsTurn(i, 2))
    test('product', { timeout }, () =>
      expectRight(tiledMatmul, { ...params, splits: 1 }, product(154, 84, 2 * tileK + 7), matmulReference),
    )
  const splits = [2, 3, 5][(i >> 1) % 3]!
  if (itsTurn(i, 2, 1))
    test(`convolution in ${splits} splits`, { timeout }, () =>
      expectRight(tiledConv, { ...params, splits }, conv(i % 4 === 1 ? 8 : 7, tileK), convReference),
    )
})

describe('tiles', () => {
  test.each([
    ['whole steps', product(36, 40, 64), 4],
    ['splits that do not come out even', product(36, 40, 80), 2],
    ['a last split of one step, not whole', product(36, 40, 70), 3],
  ] as const)('product in splits: %s', { timeout }, (_, c, splits) =>
    expectRight(tiledMatmul, { ...small, splits }, c, matmulReference),
  )

  test.each([1, 2])('product with a gate in %i splits', { timeout }, (splits) =>
    expectRight(
      tiledMatmul,
      { ...small, splits },
      {
        name: 'gate',
        attrs: { ...linear, gate: 'gelu' },
        inputs: [{ shape: [1, 9, 40] }, { shape: [72, 40], weight: true }, { shape: [72], weight: true }],
        output: [1, 9, 36],
      },
      matmulReference,
      { arena: 'f16-packed', weight: 'f32' },
      // Gates far out would show the reference's erf, a series that cancels.
      0.25,
    ),
  )

  const packed: Storages = { arena: 'f16-packed', weight: 'f16-packed' }
  const tall = tiles.find(({ groups, lanesN }) => groups * lanesN === 1)! // several rows of a an invocation
  test.each([
    ['whole steps', small, product(36, 40, 64), 1],
    ['edges everywhere', small, product(38, 42, 70), 1],
    ['splits, the last of one step', small, product(36, 40, 70), 3],
    ['a tall tile', tall, product(38, 6, 43), 1],
  ] as const)('product normalised on load: %s', { timeout }, async (_, tile, c, splits) => {
    await expectRight(tiledMatmul, { ...tile, splits }, normalised(c), matmulReference)
    if (splits > 1 || tile === tall)
      await expectRight(tiledMatmul, { ...tile, splits }, normalised(c), matmulReference, packed)
  })

  test.each([true, false])('batched product of activations in splits, b transposed: %s', { timeout }, (transposeB) =>
    expectRight(
      tiledMatmul,
      { ...small, splits: 2 },
      {
        name: 'batched',
        attrs: { transposeA: false, transposeB },
        inputs: [{ shape: [3, 37, 43] }, { shape: transposeB ? [3, 38, 43] : [3, 43, 38] }],
        output: [3, 37, 38],
        gap: 1,
      },
      matmulReference,
    ),
  )

  test.each([
    [{ arena: 'f16-packed', weight: 'f16-packed' }, 1],
    [{ arena: 'f16-packed', weight: 'f16-packed' }, 3],
    [{ arena: 'f32', weight: 'f16-packed' }, 2],
  ] as const)('storages %o in %i splits', { timeout }, async (storages, splits) => {
    await expectRight(tiledMatmul, { ...small, splits }, product(36, 40, 80), matmulReference, storages)
    await expectRight(tiledConv, { ...small, splits }, conv(8, 16), convReference, storages)
    if (splits === 3)
      await expectRight(tiledConv, { ...small, splits }, normalisedConv(conv(8, 16)), convReference, storages)
  })

  test.each([
    ['a step within a tap', conv(8, 16)],
    ['steps over taps', conv(8, 20)],
    ['stride 2, lines of whole fours', conv(8, 16, 2)],
    ['stride 2', conv(5, 12, 2)],
    ['channels that are no multiple of 4', conv(4, 6)],
    ['a doubled image, lines of whole fours', doubled(4, 16)],
    ['a doubled image', doubled(3, 6)],
    ['normalised on load, a step within a tap', normalisedConv(conv(8, 16))],
    ['normalised on load, tails', normalisedConv(conv(5, 6), 'linear')],
  ] as const)('convolution: %s', { timeout }, async (_, c) => {
    await expectRight(tiledConv, { ...small, splits: 1 }, c, convReference)
    await expectRight(tiledConv, { ...small, splits: 2 }, c, convReference)
  })

  test('no split without work', () => {
    const request = requestOf(product(36, 40, 64), { arena: 'f32', weight: 'f32' })
    const supported = (splits: number) => tiledMatmul.supports(request, { ...small, splits })
    expect([1, 2, 3, 4, 5, 8].map(supported)).toEqual([true, true, false, true, false, false])
  })
})
