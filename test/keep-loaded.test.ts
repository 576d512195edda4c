// Components that are freed once a picture no longer needs them: the same pictures, in fewer bytes of weights at a time.
import { afterAll, describe, expect, it } from 'vitest'
import { openTextToImage } from '../src/pipeline/open.ts'
import { nodeFolder } from '../src/weights/node-files.ts'
import { testExecutors } from './golden/executors.ts'
import { goldenFolder } from './golden/read-golden.ts'

const files = nodeFolder(`${goldenFolder}tiny/sd1`)
const small = { prompt: 'a cat', seed: 1, steps: 2, width: 64, height: 64, sampler: 'ddim' } as const

describe.each(await testExecutors())('$name', ({ backend }) => {
  const open = (keepLoaded: boolean) => openTextToImage(files, 'f32', async () => backend, { keepLoaded })
  const pipelines = [open(true), open(false)]
  afterAll(async () => {
    for (const pipeline of pipelines) await (await pipeline).dispose()
  })

  it('draws the same pictures, one after the other', async () => {
    const [keeping, dropping] = await Promise.all(pipelines)
    const kept = await keeping!.generate(small)
    expect(keeping!.memory.weightBytes).toBe(kept.memory.weightBytes)
    expect(kept.memory.peakWeightBytes).toBe(kept.memory.weightBytes)
    for (const prompt of [small.prompt, small.prompt, 'a dog']) {
      const dropped = await dropping!.generate({ ...small, prompt })
      if (prompt === small.prompt) expect(dropped.latents.values).toEqual(kept.latents.values)
      expect(dropping!.memory.weightBytes).toBe(0)
      expect(dropped.memory.peakWeightBytes).toBeLessThan(kept.memory.peakWeightBytes)
      expect(dropped.memory.arenaBytes).toBeLessThanOrEqual(kept.memory.arenaBytes)
    }
  })

  it('keeps what a profile will time', async () => {
    const dropping = await pipelines[1]!
    const { profile, memory } = await dropping.generate({ ...small, profile: true })
    expect(profile?.stages.length).toBeGreaterThan(3)
    expect(memory.peakWeightBytes).toBe(memory.weightBytes)
  })
})
