// Winograd's convolutions on SwiftShader against f64 loops: each tile size with each product beneath, whole, in slices, and in
// chunks and slices, whose last are smaller. The shapes of whole models are the other suites' business.
import { expect, test } from 'vitest'
import type { Request, Storage } from '../src/kernels/family.ts'
import { directMatmul } from '../src/kernels/matmul/direct.ts'
import { tiledTunings } from '../src/kernels/matmul/tiled-text.ts'
import type { TileSize } from '../src/kernels/winograd/matrices.ts'
import { type Part, scratchOf, winogradProblem } from '../src/kernels/winograd/problem.ts'
import { type WinogradParams, winogradConvs } from '../src/kernels/winograd/variant.ts'
import type { Conv2dAttrs } from '../src/ops/attrs.ts'
import { type CompiledTexts, operand, runKernel, softwareCapabilities, stored } from './gpu.ts'
import { type Case, convReference, normalisedConv, random, size } from './product-reference.ts'

const sizes: readonly TileSize[] = [2, 4, 6, 8]
const [tile] = tiledTunings.gpu.slice(-1)
const products: Readonly<Record<string, Pick<WinogradParams, 'product' | 'split'>>> = {
  direct: { product: { nest: 'direct', tile: directMatmul.tunings.software[1]! }, split: false },
  tiled: { product: { nest: 'tiled', tile: { ...tile!, splits: 1 } }, split: true },
}
// Shared: what differs between parts and pictures is data, so that only the products are compiled anew.
const compiled: CompiledTexts = new Map()

/** `doubled`: of images of half the size, whose first row is left out once they are enlarged. */
function conv(n: number, side: number, doubled: boolean): Case<Conv2dAttrs> {
  const [c, o] = [10, 44]
  if (doubled) {
    const half = Math.ceil(side / 2)
    return {
      name: `${n}×${half}×${half}×${c}, doubled → ${o}`,
      attrs: { stride: 1, padding: [-1, 1, 1, 1], upsample: 2 },
      inputs: [{ shape: [n, half, half, c] }, { shape: [o, c, 3, 3], weight: true }, { shape: [o], weight: true }],
      output: [n, 2 * half - 2, 2 * half, o],
    }
  }
  return {
    name: `${n}×${side}×${side}×${c} → ${o}`,
    attrs: { stride: 1, padding: [1, 1, 1, 1] },
    inputs: [{ shape: [n, side, side, c] }, { shape: [o, c, 3, 3], weight: true }, { shape: [o], weight: true }],
    output: [n, side, side, o],
  }
}

function requestOf({ attrs, inputs, output }: Case<Conv2dAttrs>, storage: Storage): Request<Conv2dAttrs> {
  const arena = (shape: readonly number[], slot: number) =>
    operand({ shape, slot, storage, offset4: 1, stride4: Math.ceil(shape.at(-1)! / 4) + 1 })
  return {
    attrs,
    inputs: inputs.map(({ shape, weight }, slot) =>
      weight ? operand({ shape, slot, storage, space: 'weight' }) : arena(shape, slot),
    ),
    output: arena(output, inputs.length),
    capabilities: softwareCapabilities,
  }
}

interface Division {
  readonly images: number
  /** Tiles along each side of a picture; the last is cut. */
  readonly tiles: number
  /** What there is room for; everything unless said. */
  readonly room?: Part
  /** Chunks times slices. */
  readonly parts: number
  readonly doubled?: true
  readonly normalised?: true
}

const divisions: Readonly<Record<string, Division>> = {
  whole: { images: 1, tiles: 7, parts: 1 },
  'in slices': { images: 2, tiles: 3, room: { tiles: 18, groups: 8 }, parts: 2 },
  'in chunks and slices': { images: 1, tiles: 7, room: { tiles: 32, groups: 8 }, parts: 4 },
  'in slices, normalised on load': {
    ...{ images: 2, tiles: 3, room: { tiles: 18, groups: 8 }, parts: 2, normalised: true },
  },
  'in slices, images doubled': { images: 2, tiles: 3, room: { tiles: 18, groups: 8 }, parts: 2, doubled: true },
}

for (const [index, m] of sizes.entries())
  for (const [nest, params] of Object.entries(products))
    for (const [division, { images, tiles, room, parts, doubled = false, normalised = false }] of Object.entries(
      divisions,
    ))
      test(`F(${m}×${m}), ${nest} products, ${division}`, async () => {
        const variant = winogradConvs[index]!
        const storage = m <= 4 ? 'f32' : 'f16-packed'
        const plain = conv(images, tiles * m - 1, doubled)
        const c = normalised ? normalisedConv(plain) : plain
        const request = requestOf(c, storage)
        const problem = winogradProblem(request, m)
        const scratchBytes = scratchOf(problem, room ?? { tiles: problem.tiles, groups: problem.o4 }).reduce(
          (a, b) => a + b,
        )
        const kernel = variant.emit(request, { ...params, scratchBytes })
        expect(kernel.scratch.reduce((a, b) => a + b)).toBeLessThanOrEqual(scratchBytes)
        const results = kernel.dispatches.filter(({ label }) => label.endsWith('results'))
        expect([results.length, new Set(results.map(({ wgsl }) => wgsl)).size]).toEqual([parts, 1])
        const data = c.inputs.map(({ shape }) => stored(random(size(shape)), storage))
        const { values, scale } = convReference(c, data)
        const got = await runKernel(
          kernel,
          request,
          { inputs: data, prepare: (at) => variant.prepare?.(request, { ...params, scratchBytes }, at) },
          compiled,
        )
        const epsilon = storage === 'f32' ? 2 ** -23 : 2 ** -10
        let worst = 0
        got.forEach((value, i) => {
          const units = Math.abs(value - values[i]!) / (epsilon * scale[i]!)
          if (!(units <= worst)) worst = units // NaN must not pass
        })
        expect(worst).toBeLessThan(variant.tolerance[storage === 'f32' ? 'f32' : 'f16'])
      })
