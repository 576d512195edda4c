import { describe, expect, it } from 'vitest'
import { Graph } from '../graph/graph.ts'
import type { HostTensor, SamplingOptions, Session } from './executor.ts'
import { hostSampling } from './host-sampling.ts'

/** A model whose output is its input, but for the first branch, which is scaled by `negative`. */
function model(negative: number, seen: HostTensor[] = []): Session {
  return {
    graph: new Graph('test'),
    weightBytes: 0,
    arenaBytes: 0,
    stateBytes: 0,
    release() {},
    async hold() {},
    async run({ sample }) {
      seen.push(sample!)
      const half = sample!.length / 2
      return { out: Float32Array.from(sample!, (value, i) => (i < half ? negative * value : value)) }
    },
    dispose() {},
  }
}

const options: SamplingOptions = {
  shape: [1, 1, 2, 2],
  slots: ['x', 'last'],
  branches: 2,
  guidanceScale: 3,
  guidanceRescale: 0,
  modelInput: 'sample',
  modelOutput: 'out',
  conditions: {},
}
const x = Float32Array.from([1, -2, 3, 4])

describe('hostSampling', () => {
  it('guides, clamps and computes all slots from the old values', async () => {
    const seen: HostTensor[] = []
    const sampling = await hostSampling(model(0.5, seen), options)
    sampling.write('x', x)
    const first = await sampling.step(
      {
        inputScale: 2,
        denoised: { x: 1, model: 0.5, clip: 6 },
        updates: [
          { slot: 'x', terms: { x: 1, denoised: 10, noise: 100, last: 1000 } },
          { slot: 'last', terms: { x: 1, model: 1 } },
        ],
      },
      {},
      Float32Array.from([0, 0, 1, 0]),
    )
    expect([...seen[0]!]).toEqual([2, -4, 6, 8, 2, -4, 6, 8])
    // Guided: u + 3(c − u) with u = x, c = 2x gives 4x; denoised = clamp(3x, ±6).
    expect([...first.latents()]).toEqual([1 + 30, -2 - 60, 3 + 60 + 100, 4 + 60])
    expect(first.finite).toBe(true)
    const updates = [{ slot: 'x', terms: { last: 1 } }]
    const second = await sampling.step({ inputScale: 1, denoised: { x: 1, model: 0 }, updates }, {})
    expect([...second.latents()]).toEqual([5, -10, 15, 20])
  })

  it('rescales guidance to the deviation of the positive branch', async () => {
    const sampling = await hostSampling(model(0.5), { ...options, guidanceRescale: 0.5 })
    sampling.write('x', x)
    const updates = [{ slot: 'x', terms: { model: 1 } }]
    const { latents } = await sampling.step({ inputScale: 1, denoised: { x: 0, model: 1 }, updates }, {})
    // Guided is 2x, so the full rescale gives x; half of it 1.5x.
    expect([...latents()]).toEqual([1.5, -3, 4.5, 6])
  })

  it('notices infinity, also in a slot that is overwritten later', async () => {
    const sampling = await hostSampling(model(1), options)
    sampling.write('x', x)
    const step = (factor: number) =>
      sampling.step(
        { inputScale: 1, denoised: { x: 1, model: 0 }, updates: [{ slot: 'last', terms: { x: factor } }] },
        {},
      )
    expect((await step(1)).finite).toBe(true)
    expect((await step(1e308 * 10)).finite).toBe(false)
    expect((await step(1)).finite).toBe(false)
  })
})
