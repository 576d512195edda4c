// What full-size models need, planned from their configs: the limits that are promised, and that `--memory` is kept.
import { describe, expect, it } from 'vitest'
import type { Graph } from '../src/graph/graph.ts'
import { architectures } from '../src/models/architectures.ts'
import { latentDiffusion } from '../src/models/model-kind.ts'
import type { Optimisations } from '../src/pipeline/optimisations.ts'
import { type ArchReport, inspectArch } from '../src/report/arch.ts'
import { planComponent } from '../src/report/planned.ts'
import { gpuCapabilities } from './gpu.ts'

/** WebGPU's default limits and no feature: what any device has. */
const capabilities = { ...gpuCapabilities, shaderF16: false, subgroups: false, matrixShapes: [] }
const MB = 1e6

const inspect = (memory?: number, optimisations: Optimisations = {}): Promise<ArchReport> =>
  inspectArch('sd15', {
    optimisations,
    width: 512,
    height: 512,
    dtype: 'f16',
    capabilities,
    ...(memory === undefined ? {} : { memoryBytes: memory * MB }),
  })

const productsOf = ({ nodes }: Graph) =>
  nodes.reduce((sum, { op, inputs, attrs, output }) => sum + op.cost(inputs, attrs as never, output).macs, 0)

describe('SD 1.5 at 512×512 in f16', () => {
  it('denoises both branches in 44 MB, and no layout could do with 2 % less', async () => {
    const { unet } = (await inspect()).components
    expect(unet.arenaBytes).toBeLessThanOrEqual(44 * MB)
    expect(unet.arenaBytes).toBeLessThanOrEqual(1.02 * unet.liveLowerBoundBytes)
    expect(unet.largestBindingBytes).toBeLessThanOrEqual(128 * 2 ** 20)
  }, 60_000)

  it('moves an eighth of the bytes that it moves with nothing fused and plain attention, and 4.2 GB with norms on load', async () => {
    const bytesOf = async (optimisations: Optimisations) =>
      (await inspect(undefined, optimisations)).components.unet.bytesMoved
    const plain = await bytesOf({ fusion: false, attention: 'plain' })
    expect(await bytesOf({})).toBeLessThanOrEqual(plain / 8)
    expect(await bytesOf({ normsOnLoad: true })).toBeLessThanOrEqual(4200 * MB)
  }, 120_000)

  it('denoises with 280 G multiply-adds a branch where there is no more than these 44 MB', async () => {
    const { unet } = (await inspect(52.6)).components
    expect(unet.arenaBytes).toBeLessThanOrEqual(44 * MB)
    expect(unet.macs / 2).toBeLessThanOrEqual(280e9)
  }, 60_000)

  it.each([84, 48])(
    'fits into %i MB, state and all',
    async (limit) => {
      for (const [name, { arenaBytes, stateBytes }] of Object.entries((await inspect(limit)).components))
        expect(arenaBytes + stateBytes, name).toBeLessThanOrEqual(limit * MB)
    },
    120_000,
  )

  it.each([
    [84, 2, 350],
    [48, 3.2, 900],
  ])(
    'decodes in %i MB with at most %f times the products, %i G multiply-adds',
    async (limit, factor, macs) => {
      const source = architectures.sd15
      const { autoencoder } = await latentDiffusion({
        index: source.index,
        file: 'model_index.json',
        config: async (folder) => ({ json: source.configs[folder as keyof typeof source.configs], file: folder }),
      })
      const graph = autoencoder.decoder({ batch: 1, height: 64, width: 64 })
      const within = { bytes: limit * MB, besideBytes: 2.2 * MB }
      const { plan } = planComponent({ graph, held: [] }, { dtype: 'f16', capabilities }, within)
      expect(productsOf(plan.graph)).toBeLessThanOrEqual(factor * productsOf(graph))
      expect(plan.steps.reduce((sum, step) => sum + step.macs, 0)).toBeLessThanOrEqual(macs * 1e9)
    },
    120_000,
  )

  it('says the least that works', async () => {
    const failure = await inspect(20).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'plan/memory' })
    const least = Number(/it needs (\d+) MB/.exec(String(failure))![1])
    expect(least).toBeLessThan(48)
    await expect(inspect(least)).resolves.toBeDefined()
    await expect(inspect(least - 1)).rejects.toMatchObject({ code: 'plan/memory' })
  }, 240_000)
})
