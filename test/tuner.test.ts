// Kernels measured on an adapter: what is chosen is one of the candidates and computes the same, what was measured is kept, and
// measuring ends when it is told to. Which one is faster is the adapter's business, and asserted nowhere.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Choice } from '../src/kernels/choose.ts'
import { rankedChoices } from '../src/kernels/choose.ts'
import { families } from '../src/kernels/families.ts'
import type { Family } from '../src/kernels/family.ts'
import { candidateName, likeliest } from '../src/plan/measured-choices.ts'
import { type AskedKernel, planGraph } from '../src/plan/plan.ts'
import type { LoadOptions } from '../src/run/executor.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import type { TuningStore } from '../src/run/tuning-store.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import { webgpuExecutor } from '../src/run/webgpu/executor.ts'
import { WebGpuSession } from '../src/run/webgpu/session.ts'
import { Tuner } from '../src/run/webgpu/tuner.ts'
import { allCases } from './cases/all.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from './cases/case.ts'
import { webgpuDevices } from './run-planned.ts'

/** Cases with several candidates on every software adapter. */
const [small, other] = [
  allCases.conv2d.find(({ name }) => name === '3×3, tiles with tails')!,
  allCases.attention.find(({ name }) => name === 'width 24')!,
]

/** Keeps in memory what is written, and counts. */
class KeptTexts implements TuningStore {
  readonly label = 'a test'
  readonly texts = new Map<string, string>()
  writes = 0
  async read(name: string) {
    return this.texts.get(name)
  }
  async write(name: string, text: string) {
    this.writes++
    this.texts.set(name, text)
  }
}

describe.each(await webgpuDevices())('$name', ({ device }) => {
  afterAll(() => device.destroy())
  let store: KeptTexts
  beforeEach(() => {
    store = new KeptTexts()
  })
  afterEach(() => expect(device.bufferBytes).toBe(0))

  const tuner = (budgetMs = 600_000, where: TuningStore = store) => new Tuner(device, { store: where, budgetMs })

  /** Loads the case's graph with a tuner, or without, runs it, and tells what was chosen. */
  async function run(opCase: OpCase, using: Tuner | undefined, load: Partial<LoadOptions> = {}) {
    const { graph, inputs, params } = buildCase(opCase)
    const progress: string[] = []
    const warnings: string[] = []
    const session = await webgpuExecutor(device, { tuner: using }).load(graph, sourceOf(params, graph), {
      dtype: 'f32',
      onTuning: (done, total) => progress.push(`${done}/${total}`),
      onWarning: (message) => warnings.push(message),
      ...load,
    })
    if (!(session instanceof WebGpuSession)) throw new TypeError('not a WebGPU session')
    try {
      const { plan } = session
      const { out } = await session.run(inputs)
      const want = evaluate(graph, inputs, params).get('out')!
      return { plan, progress, warnings, ...worst(out!, want, epsilons.f32) }
    } finally {
      session.dispose()
    }
  }

  /** What a plan asks for the case's node. */
  function askedBy(opCase: OpCase): AskedKernel {
    const asked: AskedKernel[] = []
    const onRequests = (all: readonly AskedKernel[]) => void asked.push(...all)
    planGraph(buildCase(opCase).graph, { dtype: 'f32', capabilities: capabilitiesOf(device), onRequests })
    return asked[0]!
  }

  /** Its candidates that are worth measuring. */
  function candidatesOf(opCase: OpCase): readonly Choice[] {
    const { family, request, roomBytes } = askedBy(opCase)
    return likeliest(rankedChoices(family, request), roomBytes).map((each) => each.choice())
  }

  const textsOf = ({ plan }: Awaited<ReturnType<typeof run>>) =>
    plan.steps.flatMap(({ dispatches }) => dispatches.map(({ wgsl }) => wgsl))
  const toleranceOf = (opCase: OpCase, variant: string) =>
    (families[opCase.op as keyof typeof families] as Family<unknown>).variants.find(({ name }) => name === variant)!
      .tolerance.f32

  it.each([small, other])(
    '$name: takes one of the candidates, which computes the same, and keeps what it measured',
    async (opCase) => {
      const candidates = candidatesOf(opCase)
      expect(candidates.length, 'something to choose from').toBeGreaterThan(1)
      const first = await run(opCase, tuner())
      expect(first.progress).toEqual(['0/1', '1/1'])
      expect(first.warnings).toEqual([])
      const texts = candidates.map(({ kernel }) => kernel.dispatches.map(({ wgsl }) => wgsl))
      expect(texts).toContainEqual(textsOf(first))
      expect(first.units, first.text).toBeLessThanOrEqual(toleranceOf(opCase, first.plan.steps[0]!.variant))
      const [kept] = [...store.texts.values()]
      const times = Object.values(JSON.parse(kept!).times as Record<string, object>)
      expect(times.map((each) => Object.keys(each).sort())).toEqual([candidates.map(candidateName).sort()])

      const [again, cached] = [await run(opCase, tuner()), await run(opCase, tuner(0))]
      expect([again.progress, cached.progress, store.writes]).toEqual([[], [], 1])
      expect([textsOf(again), textsOf(cached)]).toEqual([textsOf(first), textsOf(first)])
    },
  )

  it('takes what the times say is fastest', async () => {
    const candidates = candidatesOf(small)
    await run(small, tuner())
    const [[name, text]] = [...store.texts] as [[string, string]]
    for (const { kernel, ...candidate } of candidates) {
      const kept = JSON.parse(text)
      const [times] = Object.values(kept.times) as [Record<string, { nanoseconds: number }>]
      for (const [each, entry] of Object.entries(times)) entry.nanoseconds = each === candidateName(candidate) ? 10 : 20
      store.texts.set(name, JSON.stringify(kept))
      const { plan } = await run(small, tuner(0))
      expect(plan.steps[0]!.dispatches.map(({ wgsl }) => wgsl)).toEqual(kernel.dispatches.map(({ wgsl }) => wgsl))
    }
  })

  it('measures nothing without time, nor where the memory allowed is too little', async () => {
    const [off, none, offAgain] = [await run(small, undefined), await run(small, tuner(0)), await run(small, undefined)]
    const told: number[] = []
    const listener = { memoryBytes: 1000, onTuning: (done: number) => void told.push(done) }
    await tuner().measure([askedBy(small)], rankedChoices, listener)
    expect([none.progress, told, store.writes]).toEqual([[], [], 0])
    expect([textsOf(none), textsOf(offAgain)]).toEqual([textsOf(off), textsOf(off)])
  })

  it('stops when it is asked to, and goes on the next time', async () => {
    const stop = new AbortController()
    const one = tuner()
    const stopped = run(small, one, { signal: stop.signal, onTuning: () => stop.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect((await run(small, one)).progress).toEqual(['0/1', '1/1'])
  })

  it('measures anew what it cannot read, and writes it whole', async () => {
    await run(small, tuner())
    const [[name, text]] = [...store.texts] as [[string, string]]
    for (const broken of [text.slice(0, 100), text.replace('"format": 1', '"format": 0')]) {
      store.texts.set(name, broken)
      expect((await run(small, tuner())).progress).toEqual(['0/1', '1/1'])
      expect(Object.keys(JSON.parse(store.texts.get(name)!).times)).toEqual(Object.keys(JSON.parse(text).times))
    }
  })

  it('goes on where nothing can be kept, and says so', async () => {
    const full: TuningStore = {
      label: 'a full disk',
      read: async () => undefined,
      write: () => Promise.reject(new Error('no space left')),
    }
    const { warnings, progress } = await run(small, tuner(undefined, full))
    expect(progress).toEqual(['0/1', '1/1'])
    expect(warnings).toEqual([expect.stringMatching(/a full disk.*no space left/)])
  })
})
