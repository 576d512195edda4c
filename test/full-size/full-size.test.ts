// SD 1.5's real shapes, a checkpoint on disk through the real loader, against diffusers' numbers at their own marks.
import { afterAll, describe, expect, it } from 'vitest'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { testExecutors } from '../golden/executors.ts'
import { fullSizeCheckpoint } from './checkpoint.ts'
import { fullSizeCases, fullSizeRunner } from './full-size-case.ts'

/** What runs where: software adapters need minutes for the UNet and the better part of an hour for the decoder. */
const columnsOf = {
  cpu: [{ dtype: 'f32', component: undefined }],
  swiftshader: [{ dtype: 'f16', component: 'unet' }],
  lavapipe: [{ dtype: 'f16', component: 'unet' }],
  gpu: [
    { dtype: 'f16', component: undefined },
    { dtype: 'f32', component: undefined },
  ],
} as const satisfies Record<string, readonly { dtype: StorageDType; component: string | undefined }[]>

const folder = await fullSizeCheckpoint()
const columns = (await testExecutors()).flatMap(({ name, backend }) =>
  columnsOf[name].map((column) => ({ name, backend, ...column })),
)

describe.each(columns)('$name $dtype', ({ name, backend: { executor }, dtype, component }) => {
  const all = fullSizeCases()
  const cases = all.filter((each) => component === undefined || each.component === component)
  const runner = fullSizeRunner(folder, executor, dtype)
  let passed = 0

  it.each(cases)('$id', async (testCase) => {
    const start = performance.now()
    const comparisons = await runner.run(testCase)
    const seconds = ((performance.now() - start) / 1000).toFixed(0)
    const lines = comparisons.map((each) => `${each.name}: ${each.text}`)
    console.log(`${testCase.id} on ${executor.description}, ${dtype}, ${seconds} s\n  ${lines.join('\n  ')}`)
    expect(comparisons.filter((each) => !each.pass).map((each) => `${each.name}: ${each.text}`)).toEqual([])
    passed++
  })

  afterAll(() => {
    runner.dispose()
    const rest = all.filter((each) => !cases.includes(each)).map(({ id }) => id)
    const note = rest.length > 0 ? `; not run here: ${rest.join(', ')}` : ''
    console.log(`full size on ${name} ${dtype}: ${passed} passed of ${cases.length}${note}`)
  })
})
