// The starter's own goldens: pictures that diffusers drew from it in f32. `PHOSPHENE_TEST_FULL=1` runs all of them on every
// executor; otherwise software adapters draw the 128 × 128 ones, which take a minute instead of an hour. SwiftShader, which takes
// three, draws one of the two in each storage where it is asked for by name: by `npm run test:starter`, not by `npm test`.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { readPng } from '../png-read.ts'
import { everything, itsTurn } from '../thinning.ts'
import { testColumns } from './executors.ts'
import { readGolden, within } from './read-golden.ts'

const folder = fileURLToPath(new URL('./starter/', import.meta.url))
const model = fileURLToPath(new URL('../../models/starter', import.meta.url))

interface Golden {
  readonly steps: number
  readonly guidance: number
  readonly prompts: readonly {
    readonly prompt: string
    readonly seed: number
    readonly width: number
    readonly height: number
    readonly samplers: Readonly<Record<string, string>>
  }[]
  readonly schedulers: Readonly<Record<string, { readonly config: Readonly<Record<string, unknown>> }>>
}

const golden = JSON.parse(readFileSync(`${folder}golden.json`, 'utf8')) as Golden
const tensors = readGolden(`${folder}golden.safetensors`)
const goldens = golden.prompts.flatMap((each, k) =>
  Object.entries(each.samplers).map(([sampler, png]) => ({ ...each, k, sampler, png })),
)

/** f16: some twenty times what ONNX Runtime shows (7e-4), since GPUs store between more nodes; the PSNR below is the real bar. */
const latentMarks = { f32: 1e-4, f16: 0.02 } as const
const maxAbs = Number.POSITIVE_INFINITY

describe.each(await testColumns())('$name $dtype', ({ name, backend, dtype }) => {
  const fast = (name === 'cpu' && dtype === 'f32') || name === 'gpu'
  const small = goldens.filter(({ width }) => width === 128)
  const slow = name === 'swiftshader'
  const wanted = everything || !slow || process.env.PHOSPHENE_TEST_EXECUTORS !== undefined
  const turn = (each: (typeof goldens)[number]) => itsTurn(small.indexOf(each), slow ? 2 : 1, dtype === 'f32' ? 0 : 1)
  const cases = wanted ? goldens.filter((each) => fast || everything || (each.width === 128 && turn(each))) : []
  let pipeline: TextToImage | undefined
  let passed = 0

  afterAll(async () => {
    await pipeline?.dispose()
    const left = goldens.length - cases.length
    const command = wanted ? 'PHOSPHENE_TEST_FULL=1' : 'npm run test:starter and PHOSPHENE_TEST_FULL=1'
    const note = left > 0 ? `; ${left} more are run with ${command}` : ''
    console.log(`starter goldens on ${name} ${dtype}: ${passed} passed of ${cases.length}${note}`)
  })

  if (!wanted) it.skip('pictures on SwiftShader: npm run test:starter', () => {})
  it.each(cases)(
    '$prompt, $sampler, $width × $height',
    async ({ k, prompt, seed, sampler, width, height, png }) => {
      pipeline ??= await openTextToImage(nodeFolder(model), dtype, async () => backend)
      const { images, latents } = await pipeline.generate({
        prompt,
        seed,
        sampler,
        width,
        height,
        steps: golden.steps,
        guidanceScale: golden.guidance,
        schedulerOverrides: { timestep_spacing: 'leading' },
      })
      const reference = tensors.get(`latents.${k}.${sampler}`)!.data as Float32Array
      const comparison = within(latents.values, reference, { max_abs: maxAbs, rel: latentMarks[dtype] })
      expect(comparison.pass, comparison.text).toBe(true)

      const want = readPng(readFileSync(folder + png))
      const got = readPng(await images[0]!.png())
      expect([got.width, got.height, got.channels]).toEqual([want.width, want.height, want.channels])
      const differences = got.pixels.map((value, i) => Math.abs(value - want.pixels[i]!))
      const largest = differences.reduce((most, each) => Math.max(most, each), 0)
      if (dtype === 'f32') expect(largest, 'largest difference of a byte').toBeLessThanOrEqual(1)
      else expect(psnr(differences), 'PSNR in dB').toBeGreaterThanOrEqual(35)
      passed++
    },
    3_600_000,
  )
})

function psnr(differences: Uint8Array): number {
  const squares = differences.reduce((sum, each) => sum + each * each, 0)
  return 10 * Math.log10(255 ** 2 / (squares / differences.length))
}
