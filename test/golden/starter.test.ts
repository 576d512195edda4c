// The starter's own goldens: pictures that diffusers drew from it in f32. `PHOSPHENE_TEST_FULL=1` runs all of them on every
// executor (bench/gpu/starter.ts spreads them over processes); otherwise software adapters draw the 128 × 128 ones, which take a
// minute instead of an hour. `npm run test:starter` has the CPU draw all in f32, and SwiftShader one of the two small ones in each
// storage, which takes it minutes; in `npm test` the CPU draws every other one, and SwiftShader none.
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { everything, itsTurn } from '../thinning.ts'
import { testColumns } from './executors.ts'
import { runStarterCase, type StarterCase, starterCases } from './starter-case.ts'

const model = fileURLToPath(new URL('../../models/starter', import.meta.url))
const goldens = starterCases()

describe.each(await testColumns())('$name $dtype', ({ name, backend, dtype }) => {
  const fast = (name === 'cpu' && dtype === 'f32') || name === 'gpu'
  const small = goldens.filter(({ width }) => width === 128)
  const slow = name === 'swiftshader'
  const asked = process.env.PHOSPHENE_TEST_EXECUTORS !== undefined
  const wanted = everything || !slow || asked
  const turn = (each: StarterCase) => itsTurn(small.indexOf(each), slow ? 2 : 1, dtype === 'f32' ? 0 : 1)
  const cases = goldens.filter((each, i) => {
    if (everything || !wanted) return wanted
    return fast ? asked || itsTurn(i, 2) : each.width === 128 && turn(each)
  })
  let pipeline: TextToImage | undefined
  let passed = 0

  afterAll(async () => {
    await pipeline?.dispose()
    const left = goldens.length - cases.length
    const command = asked ? 'PHOSPHENE_TEST_FULL=1' : 'npm run test:starter and PHOSPHENE_TEST_FULL=1'
    const note = left > 0 ? `; ${left} more are run with ${command}` : ''
    console.log(`starter goldens on ${name} ${dtype}: ${passed} passed of ${cases.length}${note}`)
  })

  if (!wanted) it.skip('pictures on SwiftShader: npm run test:starter', () => {})
  it.each(cases)('$prompt, $sampler, $width × $height', { timeout: 3_600_000 }, async (each) => {
    pipeline ??= await openTextToImage(nodeFolder(model), dtype, async () => backend)
    const { pass, text } = await runStarterCase(each, pipeline, dtype)
    expect(pass, text).toBe(true)
    passed++
  })
})
