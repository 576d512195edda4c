// Whole pipelines with what can be switched off switched off, at the references' marks. In `npm test` each switch meets one
// reference in one storage, since all its kernels are compiled anew; `PHOSPHENE_TEST_FULL=1` has them meet all (thinning.ts).
import { afterAll, describe, expect, it } from 'vitest'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import type { Optimisations } from '../../src/pipeline/optimisations.ts'
import { keptOpen } from '../kept-open.ts'
import { webgpuDevices } from '../run-planned.ts'
import { itsTurn } from '../thinning.ts'
import { leftOut, pipelineCases, pipelineRunner } from './pipeline-case.ts'

const switches: Readonly<Record<string, Optimisations>> = {
  'without Winograd': { winograd: false },
  'plain attention': { attention: 'plain' },
  'partially fused softmax': { attention: 'pfsm' },
  'flash attention': { attention: 'flash' },
  'without fusion': { fusion: false },
  'norms on load': { normsOnLoad: true },
  'with nothing on': { winograd: false, matrixUnits: false, attention: 'plain', fusion: false },
}
const cases = pipelineCases.filter((each) => leftOut(each) === undefined)

describe.each(await webgpuDevices())('$name', ({ device }) => {
  afterAll(() => device.destroy())

  describe.each(Object.entries(switches).map(([name, optimisations], s) => ({ name, optimisations, s })))(
    '$name',
    ({ optimisations, s }) => {
      const shared = keptOpen(webgpuBackend(device, optimisations))
      const runs = cases.flatMap((testCase, at) =>
        (['f32', 'f16'] as const).map((dtype, d) => ({ id: testCase.id, testCase, dtype, at: 2 * at + d })),
      )
      const quick = runs.findIndex(({ id }) => id === (s % 2 ? 'pipelines/sd1/ddim' : 'pipelines/turbo/1'))
      it.each(runs.filter(({ at }) => itsTurn(at, runs.length, quick + ((s >> 1) % 2))))(
        '$id $dtype',
        async ({ testCase, dtype }) => {
          const runner = pipelineRunner(shared, dtype, { optimisations })
          const comparisons = await runner.run(testCase)
          await runner.dispose()
          for (const { name, pass, text } of comparisons) expect(pass, `${name}: ${text}`).toBe(true)
        },
      )
    },
  )
})
