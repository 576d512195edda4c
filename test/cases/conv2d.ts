// Cases of conv2d.
import { binary, input, siluExpr } from '../../src/graph/expr.ts'
import type { Conv2dAttrs } from '../../src/ops/attrs.ts'
import { type OpCase, vector, weight } from './case.ts'

type Padding = Conv2dAttrs['padding']

/** x [n, h, w, c] with a kernel of k×k (or kh×kw) to o channels. */
function conv(
  name: string,
  [n, h, w, c]: [number, number, number, number],
  o: number,
  kernel: number | [number, number],
  options: {
    stride?: number
    padding?: number | Padding
    upsample?: 2
    bias?: boolean
    /** Moments of about the size of real ones, far off the mean of x. */
    normalised?: Conv2dAttrs['normalised']
    epilogue?: OpCase['epilogue']
  } = {},
): OpCase {
  const { stride = 1, padding = 0, upsample, bias = true, normalised, epilogue } = options
  const [kh, kw] = typeof kernel === 'number' ? [kernel, kernel] : kernel
  const attrs: Conv2dAttrs = {
    stride,
    padding: typeof padding === 'number' ? [padding, padding, padding, padding] : padding,
    ...(upsample && { upsample }),
    ...(normalised && { normalised }),
  }
  const inputs = [
    { shape: [n, h, w, c] },
    weight([o, c, kh, kw], c * kh * kw),
    ...(bias ? [vector(o)] : []),
    ...(normalised ? [{ shape: [n, 2, c], mean: 1, deviation: 0.5 }, vector(c)] : []),
  ]
  return { name, op: 'conv2d', inputs, attrs, ...(epilogue ? { epilogue } : {}) }
}

const residual = binary('add', input(0), input(1))

export const cases: readonly OpCase[] = [
  conv('one pixel, one channel', [1, 1, 1, 1], 1, 1),
  conv('one pixel under a padded 3×3', [1, 1, 1, 3], 5, 3, { padding: 1 }),
  conv('3×3 without padding leaves one pixel', [1, 3, 3, 2], 3, 3),
  conv('3×3, primes', [1, 7, 11, 5], 13, 3, { padding: 1 }),
  conv('3×3, batch 2, no bias', [2, 5, 6, 8], 8, 3, { padding: 1, bias: false }),
  conv('3×3, channels with tails', [1, 9, 8, 6], 10, 3, { padding: 1 }),
  conv('3×3, one input channel', [1, 8, 8, 1], 16, 3, { padding: 1 }),
  conv('3×3, one output channel', [1, 8, 8, 16], 1, 3, { padding: 1 }),
  conv('3×3, latents in', [2, 16, 16, 4], 32, 3, { padding: 1 }),
  conv('3×3, latents out', [2, 16, 16, 32], 4, 3, { padding: 1 }),
  conv('3×3, picture out', [1, 24, 24, 32], 3, 3, { padding: 1 }),
  conv('3×3, inpainting latents', [1, 8, 8, 9], 32, 3, { padding: 1 }),
  conv('3×3, even sizes', [1, 16, 16, 32], 32, 3, { padding: 1 }),
  conv('3×3, wide row', [1, 2, 67, 16], 16, 3, { padding: 1 }),
  conv('3×3, tall column', [1, 67, 2, 16], 16, 3, { padding: 1 }),
  conv('3×3, tiles with tails', [1, 17, 19, 36], 68, 3, { padding: 1 }),
  conv('3×3, many channels, few pixels', [2, 4, 4, 192], 96, 3, { padding: 1 }),
  conv('3×3, unet level', [2, 8, 8, 96], 128, 3, { padding: 1 }),
  conv('3×3, wide padding', [1, 5, 5, 4], 4, 3, { padding: 2 }),
  conv('3×3, padding of one side', [1, 6, 5, 4], 8, 3, { padding: [0, 1, 1, 0] }),
  conv('3×3, four different paddings', [1, 5, 7, 3], 4, 3, { padding: [0, 1, 2, 3] }),
  conv('stride 2, even', [1, 8, 8, 16], 16, 3, { stride: 2, padding: 1 }),
  conv('stride 2, odd, batch 2', [2, 7, 9, 6], 10, 3, { stride: 2, padding: 1 }),
  conv('stride 2, encoder padding', [1, 8, 10, 8], 8, 3, { stride: 2, padding: [0, 1, 1, 0] }),
  conv('stride 2, encoder padding, odd', [1, 9, 7, 32], 32, 3, { stride: 2, padding: [0, 1, 1, 0] }),
  conv('stride 2, 1×1', [1, 7, 8, 12], 8, 1, { stride: 2 }),
  conv('stride 3', [1, 10, 11, 4], 4, 3, { stride: 3, padding: 1 }),
  conv('1×1, tails', [2, 5, 3, 7], 9, 1),
  conv('1×1, no bias', [1, 4, 4, 20], 12, 1, { bias: false }),
  conv('1×1, shortcut', [1, 8, 8, 224], 96, 1),
  conv('1×1, quant', [1, 16, 16, 8], 8, 1),
  conv('1×1, padded', [1, 3, 4, 5], 6, 1, { padding: 1 }),
  conv('2×2, patches', [1, 8, 6, 16], 24, 2, { stride: 2 }),
  conv('5×5', [1, 9, 8, 3], 4, 5, { padding: 2 }),
  conv('1×3', [1, 6, 7, 5], 6, [1, 3], { padding: [0, 1, 0, 1] }),
  conv('3×1', [1, 6, 7, 5], 6, [3, 1], { padding: [1, 0, 1, 0] }),
  conv('3×3, 320 channels', [1, 8, 8, 320], 320, 3, { padding: 1 }),
  conv('3×3, silu', [1, 7, 6, 6], 9, 3, { padding: 1, epilogue: { expr: siluExpr(input(0)), inputs: [] } }),
  conv('3×3, residual', [2, 6, 6, 8], 12, 3, {
    padding: 1,
    epilogue: { expr: residual, inputs: [{ shape: [2, 6, 6, 12] }] },
  }),
  conv('3×3, time embedding', [2, 6, 6, 8], 10, 3, {
    padding: 1,
    epilogue: { expr: residual, inputs: [{ shape: [2, 1, 1, 10] }] },
  }),
  conv('1×1, residual and silu', [1, 5, 5, 16], 20, 1, {
    epilogue: { expr: siluExpr(residual), inputs: [{ shape: [1, 5, 5, 20] }] },
  }),
  conv('3×3 of a doubled pixel', [1, 1, 1, 3], 5, 3, { padding: 1, upsample: 2 }),
  conv('3×3 doubled, odd sizes and tails', [1, 3, 5, 6], 10, 3, { padding: 1, upsample: 2 }),
  conv('3×3 doubled, tiles with tails', [1, 9, 7, 36], 68, 3, { padding: 1, upsample: 2 }),
  conv('3×3 doubled, unet level', [2, 4, 4, 96], 128, 3, { padding: 1, upsample: 2 }),
  conv('3×3 doubled, batch 2, residual', [2, 3, 5, 8], 12, 3, {
    padding: 1,
    upsample: 2,
    epilogue: { expr: residual, inputs: [{ shape: [2, 6, 10, 12] }] },
  }),
  conv('3×3 doubled, no padding above and left', [2, 5, 3, 7], 6, 3, {
    padding: [0, 1, 1, 0],
    upsample: 2,
    bias: false,
  }),
  conv('3×3 doubled, a band between pairs of rows', [1, 4, 6, 16], 16, 3, { padding: [-1, 1, -1, 1], upsample: 2 }),
  conv('3×3 doubled, half a pixel off on all sides', [2, 5, 4, 5], 4, 3, { padding: -1, upsample: 2 }),
  conv('stride 2 doubled', [1, 4, 5, 6], 9, 3, { stride: 2, padding: 1, upsample: 2 }),
  conv('1×1 doubled', [1, 3, 4, 8], 12, 1, { upsample: 2 }),
  conv('normalised, one pixel under a padded 3×3', [1, 1, 1, 3], 5, 3, { padding: 1, normalised: 'linear' }),
  conv('normalised 1×1, tails', [2, 5, 3, 7], 9, 1, { normalised: 'linear' }),
  conv('normalised 1×1, tokens', [2, 8, 8, 96], 96, 1, { normalised: 'linear', bias: false }),
  conv('normalised 3×3, silu, batch 2, tails', [2, 7, 9, 6], 10, 3, { padding: 1, normalised: 'silu' }),
  conv('normalised 3×3, silu, tiles with tails', [1, 17, 19, 36], 68, 3, {
    padding: 1,
    normalised: 'silu',
    bias: false,
  }),
  conv('normalised 3×3, silu, unet level', [2, 8, 8, 96], 128, 3, {
    padding: 1,
    normalised: 'silu',
    epilogue: { expr: residual, inputs: [{ shape: [2, 1, 1, 128] }] },
  }),
  conv('normalised 3×3 doubled', [2, 4, 5, 16], 24, 3, { padding: 1, upsample: 2, normalised: 'silu' }),
  conv('normalised, stride 2, encoder padding', [1, 8, 10, 8], 8, 3, {
    stride: 2,
    padding: [0, 1, 1, 0],
    normalised: 'linear',
  }),
  conv('2×2 and a row left out below', [1, 5, 6, 4], 8, 2, { padding: [0, 1, -1, 0] }),
]
