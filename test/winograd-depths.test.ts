// Winograd's convolutions whose input channels pass through scratch in depths: in a plan's arena and with shared texts, on the
// devices that are asked for, in both storages. Kernels by themselves are wgsl-winograd.test.ts's business.
import { afterAll, describe, expect, it } from 'vitest'
import { binary, input, siluExpr } from '../src/graph/expr.ts'
import { broadcastMatmul } from '../src/kernels/matmul/broadcast.ts'
import { directMatmul } from '../src/kernels/matmul/direct.ts'
import { withSharedTexts } from '../src/kernels/wgsl/shared-text.ts'
import type { TileSize } from '../src/kernels/winograd/matrices.ts'
import { scratchOf, winogradProblem } from '../src/kernels/winograd/problem.ts'
import { type WinogradParams, winogradConvs } from '../src/kernels/winograd/variant.ts'
import type { Conv2dAttrs } from '../src/ops/attrs.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { buildCase, epsilons, type OpCase, sourceOf, vector, weight, worst } from './cases/case.ts'
import { representable, runPlanned, webgpuDevices } from './run-planned.ts'

const attrs: Conv2dAttrs = { stride: 1, padding: [1, 1, 1, 1] }
const c = 70

/** Some 40 tiles, their channels and those of their results: none a multiple of what passes through scratch at a time. */
const cases = (m: TileSize): readonly OpCase[] => [
  {
    name: 'with a residual',
    op: 'conv2d',
    inputs: [{ shape: [2, 5 * m - 1, 4 * m, c] }, weight([42, c, 3, 3], c * 9), vector(42)],
    attrs,
    epilogue: { expr: siluExpr(binary('add', input(0), input(1))), inputs: [{ shape: [2, 5 * m - 1, 4 * m, 42] }] },
  },
  {
    name: 'of an image doubled, in place',
    op: 'conv2d',
    inputs: [{ shape: [1, 3 * m, 3 * m - 1, c] }, weight([35, c, 3, 3], c * 9)],
    attrs: { ...attrs, upsample: 2 },
    epilogue: { expr: binary('add', input(0), input(1)), inputs: [{ shape: [1, 6 * m, 6 * m - 2, 35] }] },
  },
]

const products: Readonly<Record<string, WinogradParams['product']>> = {
  direct: { nest: 'direct', tile: directMatmul.tunings.software[2]! },
  broadcast: { nest: 'broadcast', tile: broadcastMatmul.tunings.software[1]! },
}

describe.each(await webgpuDevices())('$name', ({ device }) => {
  afterAll(() => device.destroy())

  for (const [index, m] of ([2, 4] as const satisfies readonly TileSize[]).entries())
    for (const dtype of ['f32', 'f16'] as const)
      for (const [nest, product] of Object.entries(products)) {
        it.each(cases(m))(`F(${m}×${m}), ${dtype}, ${nest} products, $name`, async (opCase) => {
          const { graph, inputs, params } = buildCase(opCase)
          const want = evaluate(graph, inputs, params).get('out')!
          const variant = winogradConvs[index]!
          let labels: readonly string[] = []
          const { outputs } = await runPlanned(device, graph, sourceOf(params, graph), inputs, {
            dtype,
            choose(request) {
              const own = request as Parameters<typeof variant.emit>[0]
              const room = scratchOf(winogradProblem(own, m), { tiles: 32, groups: 8, depth: 4 })
              const tuning = { product, split: false, scratchBytes: room.reduce((a, b) => a + b) }
              const kernel = withSharedTexts(variant.emit(own, tuning))
              labels = kernel.dispatches.map(({ label }) => label)
              return {
                ...{ variant: variant.name, params: tuning, cost: 0, kernel },
                prepared: (at) => variant.prepare?.(own, tuning, at),
              }
            },
          })
          const count = (what: string) => labels.filter((label) => label.includes(what)).length
          expect(count('matmul')).toBe(5 * count('results'))
          const { units, text } = worst(outputs.out!, representable(want, dtype), epsilons[dtype])
          expect(units, text).toBeLessThanOrEqual(variant.tolerance[dtype])
        })
      }
})
