// Steps on a device that keeps two of them queued, as GPUs do: each is told of when it is over, with its own latents, and they are
// the reference's.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Device } from '../src/device/device.ts'
import { openDevice } from '../src/device/node.ts'
import { Graph } from '../src/graph/graph.ts'
import { add, silu } from '../src/ops/pointwise.ts'
import { denoise } from '../src/pipeline/denoise.ts'
import type { Executor, Session } from '../src/run/executor.ts'
import { referenceExecutor } from '../src/run/reference/executor.ts'
import { webgpuExecutor } from '../src/run/webgpu/executor.ts'
import type { Stage } from '../src/sampling/stage.ts'
import { sourceOf } from './cases/case.ts'

const shape = [1, 4, 3, 5] as const
const count = 60

function model(): Graph {
  const graph = new Graph('model')
  const time = graph.input('time', [1, 1, 1, 5])
  graph.output('out', silu(add(graph.input('sample', shape), time)))
  return graph
}

/** Each row differs, reads history and noise, and writes history for the next. */
const stages = Array.from(
  { length: 6 },
  (_, i): Stage => ({
    timestep: i,
    inputScale: 1 / (i + 1),
    denoised: { x: 1, model: -0.3 },
    updates: [
      { slot: 'x', terms: { x: 0.5, denoised: 0.4, last: 0.1 * i, noise: 0.2 } },
      { slot: 'last', terms: { denoised: 1 } },
    ],
    drawsNoise: true,
  }),
)

interface Loaded {
  readonly executor: Executor
  readonly session: Session
}

async function loaded(executor: Executor): Promise<Loaded> {
  const graph = model()
  return { executor, session: await executor.load(graph, sourceOf(new Map(), graph), { dtype: 'f32' }) }
}

let device: Device
let queued: Loaded
let plain: Loaded

beforeAll(async () => {
  const software = await openDevice({ kind: 'software' })
  device = new Device(software.gpu, { ...software.description, kind: 'gpu' }, () => software.destroy())
  queued = await loaded(webgpuExecutor(device))
  plain = await loaded(referenceExecutor())
})

afterAll(async () => {
  queued.session.dispose()
  expect(device.bufferBytes).toBe(0)
  await queued.executor.dispose()
})

interface Seen {
  readonly index: number
  readonly latents: Float32Array
  readonly late: () => Float32Array
}

async function run({ executor, session }: Loaded, rows = stages): Promise<{ final: Float32Array; steps: Seen[] }> {
  const steps: Seen[] = []
  let draws = 0
  const final = await denoise({
    executor,
    model: session,
    modelInput: 'sample',
    modelOutput: 'out',
    conditions: {},
    timestepInputs: (timestep) => ({ time: Float32Array.from({ length: 5 }, (_, c) => Math.sin(timestep + c)) }),
    branches: 1,
    guidanceScale: 1,
    guidanceRescale: 0,
    run: {
      timesteps: rows.map(({ timestep }) => timestep),
      initNoiseSigma: 1,
      slots: ['x', 'last'],
      stages: rows,
      addNoise: () => ({ signal: 1, noise: 0 }),
    },
    latents: Float32Array.from({ length: count }, (_, i) => Math.cos(i)),
    shape,
    noise: () => Float32Array.from({ length: count }, (_, i) => Math.sin(++draws + i)),
    async onStep({ index, latents }) {
      await new Promise((resolve) => setTimeout(resolve, index % 2)) // a listener may take its time
      steps.push({ index, latents: latents(), late: latents })
    },
  })
  return { final, steps }
}

describe('two steps at a time', () => {
  it('gives every step its own latents', async () => {
    const want = await run(plain)
    const got = await run(queued)
    expect(got.steps.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5])
    for (const [i, { latents }] of got.steps.entries())
      expect(worst(latents, want.steps[i]!.latents), `step ${i}`).toBeLessThan(1e-5)
    expect(got.final).toEqual(got.steps.at(-1)!.latents)
    expect(worst(want.steps[2]!.latents, want.steps[3]!.latents)).toBeGreaterThan(0.1)
  })

  it('names the step that broke, whatever is queued behind it', async () => {
    for (const broken of [0, 3, 5]) {
      const rows = stages.map((stage, i) =>
        i === broken ? { ...stage, updates: [{ slot: 'x', terms: { x: 3e38, denoised: 3e38 } }] } : stage,
      )
      await expect(run(queued, rows), `step ${broken}`).rejects.toMatchObject({
        code: 'latents/not-finite',
        message: expect.stringContaining(`after step ${broken + 1} of 6`),
      })
    }
  })

  it('refuses the latents of a step that is long gone', async () => {
    const { steps } = await run(queued)
    expect(() => steps[0]!.late()).toThrow(/step 1 .* after step \d was queued/)
  })
})

function worst(got: Float32Array, want: Float32Array): number {
  return got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0)
}
