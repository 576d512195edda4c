// Winograd's convolutions on SwiftShader against f64 loops: each tile size with each product beneath, whole, in slices, in chunks and
// slices, whose last are smaller, and with input channels in depths as well; the texts of depths on the null backend, too. The
// shapes of whole models are the other suites' business.
import { expect, test } from 'vitest'
import { binary, input, siluExpr } from '../src/graph/expr.ts'
import type { Request, Storage } from '../src/kernels/family.ts'
import { broadcastMatmul } from '../src/kernels/matmul/broadcast.ts'
import { directMatmul } from '../src/kernels/matmul/direct.ts'
import { tiledTunings } from '../src/kernels/matmul/tiled-text.ts'
import type { TileSize } from '../src/kernels/winograd/matrices.ts'
import { type Part, scratchOf, wholePart, winogradProblem } from '../src/kernels/winograd/problem.ts'
import { type WinogradParams, winogradConvs } from '../src/kernels/winograd/variant.ts'
import type { Conv2dAttrs } from '../src/ops/attrs.ts'
import {
  type CompiledTexts,
  gpuCapabilities,
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
  evaluate,
  normalisedConv,
  random,
  size,
} from './product-reference.ts'
import { itsTurn } from './thinning.ts'

const sizes: readonly (readonly [rows: TileSize, columns: TileSize])[] = [
  [2, 2],
  [4, 4],
  [6, 6],
  [8, 8],
  [4, 8],
]
const [productTile] = tiledTunings.gpu.slice(-1)
const products: Readonly<Record<string, Pick<WinogradParams, 'product' | 'split'>>> = {
  direct: { product: { nest: 'direct', tile: directMatmul.tunings.software[1]! }, split: false },
  tiled: { product: { nest: 'tiled', tile: { ...productTile!, splits: 1 } }, split: true },
  broadcast: { product: { nest: 'broadcast', tile: broadcastMatmul.tunings.software[1]! }, split: false },
}
// Shared: what differs between parts and pictures is data, so that only the products are compiled anew.
const compiled: CompiledTexts = new Map()

/** `doubled`: of images of half the size, whose first row is left out once they are enlarged. */
function conv(
  { images: n, channels: c = 10, doubled, tiles }: Division,
  [rows, columns]: (typeof sizes)[number],
): Case<Conv2dAttrs> {
  const [height, width] = [tiles * rows - 1, tiles * columns - 1]
  const o = 44
  if (doubled) {
    const [h, w] = [Math.ceil(height / 2), Math.ceil(width / 2)]
    return {
      name: `${n}×${h}×${w}×${c}, doubled → ${o}`,
      attrs: { stride: 1, padding: [-1, 1, 1, 1], upsample: 2 },
      inputs: [{ shape: [n, h, w, c] }, { shape: [o, c, 3, 3], weight: true }, { shape: [o], weight: true }],
      output: [n, 2 * h - 2, 2 * w, o],
    }
  }
  return {
    name: `${n}×${height}×${width}×${c} → ${o}`,
    attrs: { stride: 1, padding: [1, 1, 1, 1] },
    inputs: [{ shape: [n, height, width, c] }, { shape: [o, c, 3, 3], weight: true }, { shape: [o], weight: true }],
    output: [n, height, width, o],
    // A residual, and a number a channel.
    epilogue: { expr: siluExpr(binary('add', binary('mul', input(0), input(2)), input(1))), shapes: [[n, height, width, o], [o]] }, // biome-ignore format: a line
  }
}

function requestOf({ attrs, inputs, output, epilogue }: Case<Conv2dAttrs>, storage: Storage): Request<Conv2dAttrs> {
  const arena = (shape: readonly number[], slot: number) =>
    operand({ shape, slot, storage, offset4: 1, stride4: Math.ceil(shape.at(-1)! / 4) + 1 })
  return {
    attrs,
    inputs: inputs.map(({ shape, weight }, slot) =>
      weight ? operand({ shape, slot, storage, space: 'weight' }) : arena(shape, slot),
    ),
    output: arena(output, inputs.length),
    ...(epilogue && {
      epilogue: { ...epilogue, inputs: epilogue.shapes.map((shape, i) => arena(shape, inputs.length + 1 + i)) },
    }),
    capabilities: softwareCapabilities,
  }
}

interface Division {
  readonly images: number
  /** Tiles along each side of a picture; the last is cut. */
  readonly tiles: number
  /** What there is room for; everything unless said, and all channels. */
  readonly room?: Partial<Part>
  /** Chunks times slices. */
  readonly parts: number
  /** One unless said. */
  readonly depths?: number
  readonly channels?: number
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

/** Of 70 channels the last group is not whole, and of 18 groups the last depth. */
const inDepths: Readonly<Record<string, Division>> = {
  'in depths': { images: 2, tiles: 3, room: { tiles: 18, groups: 11, depth: 4 }, parts: 1, depths: 5, channels: 70 },
  'in chunks, slices and depths': {
    images: 1,
    tiles: 7,
    room: { tiles: 32, groups: 8, depth: 4 },
    parts: 4,
    depths: 5,
    channels: 70,
  },
  'in depths, normalised on load': {
    ...{ images: 2, tiles: 3, room: { tiles: 18, groups: 11, depth: 4 }, parts: 1, depths: 5, channels: 70 },
    normalised: true,
  },
  'in slices and depths, images doubled': {
    images: 2,
    tiles: 3,
    room: { tiles: 18, groups: 8, depth: 4 },
    parts: 2,
    depths: 5,
    channels: 70,
    doubled: true,
  },
}

const roomOf = ([rows, columns]: (typeof sizes)[number], request: Request<Conv2dAttrs>, room: Partial<Part> = {}) => {
  const problem = winogradProblem(request, rows, columns)
  return scratchOf(problem, { ...wholePart(problem), ...room }).reduce((a, b) => a + b)
}

/**
 * The broadcasting product differs from the direct one in what is the same for all tile sizes. Divisions into depths, and those that
 * normalise, take turns (thinning.ts).
 */
function meets(index: number, nest: string, name: string): boolean {
  const at = Object.keys(inDepths).indexOf(name)
  if (nest === 'broadcast') return sizes[index]![1] === 4 && at >= 0
  if (divisions[name]?.normalised) return itsTurn(index + Object.keys(products).indexOf(nest), 2)
  return at < 0 || itsTurn(at + index + Object.keys(products).indexOf(nest), Object.keys(inDepths).length)
}

for (const [index, tile] of sizes.entries())
  for (const [nest, params] of Object.entries(products))
    for (const [name, division] of Object.entries({ ...divisions, ...inDepths })) {
      if (!meets(index, nest, name)) continue
      test(`F(${tile.join('×')}), ${nest} products, ${name}`, async () => {
        const variant = winogradConvs[index]!
        const storage = tile[1] <= 4 ? 'f32' : 'f16-packed'
        const { room, parts, depths = 1, normalised = false } = division
        const plain = conv(division, tile)
        const c = normalised ? normalisedConv(plain) : plain
        const request = requestOf(c, storage)
        const scratchBytes = roomOf(tile, request, room)
        const kernel = variant.emit(request, { ...params, scratchBytes })
        expect(kernel.scratch.reduce((a, b) => a + b)).toBeLessThanOrEqual(scratchBytes)
        const labelled = (what: string) => kernel.dispatches.filter(({ label }) => label.includes(what))
        const results = labelled('results')
        expect([results.length, new Set(results.map(({ wgsl }) => wgsl)).size]).toEqual([parts, 1])
        expect(labelled('matmul').length).toBe(parts * depths)
        const data = c.inputs.map(({ shape }) => stored(random(size(shape)), storage))
        const others = (c.epilogue?.shapes ?? []).map((shape) => stored(random(size(shape)), storage))
        const { values, scale } = convReference(c, data)
        if (c.epilogue)
          values.forEach((value, i) => {
            const beside = c.epilogue!.shapes.map((shape, e) => others[e]![broadcastIndex(shape, c.output, i)]!)
            const all = [[value, scale[i]!] as const, ...beside.map((each) => [each, Math.abs(each)] as const)]
            ;[values[i], scale[i]] = evaluate(c.epilogue!.expr, all) as [number, number]
          })
        const got = await runKernel(
          kernel,
          request,
          {
            inputs: data,
            epilogue: others,
            prepare: (at) => variant.prepare?.(request, { ...params, scratchBytes }, at),
          },
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
    }

test('texts of depths compile on the null backend, in every storage', async () => {
  for (const [index, tile] of sizes.entries())
    for (const params of [products.direct!, products.tiled!])
      for (const storage of ['f32', 'f16', 'f16-packed'] as const) {
        if (tile[1] > 4 && storage === 'f32') continue
        const division = inDepths['in chunks, slices and depths']!
        const request = {
          ...requestOf(conv(division, tile), storage),
          capabilities: { ...gpuCapabilities, subgroups: false },
        }
        const scratchBytes = roomOf(tile, request, division.room)
        const { dispatches } = winogradConvs[index]!.emit(request, { ...params, scratchBytes })
        const texts = new Set(dispatches.map(({ wgsl }) => wgsl))
        // Products store or add, whole depths or the last.
        expect(texts.size).toBeGreaterThanOrEqual(5)
        for (const wgsl of texts) expect(await validateOnNull(wgsl)).toEqual([])
      }
})
