// Whole generations of the small models against diffusers: text to image of SD 1.x, SD 2.x and Turbo, at the references' marks.
import { afterAll, describe, expect, it } from 'vitest'
import { testColumns } from './executors.ts'
import { leftOut, pipelineCases, pipelineRunner } from './pipeline-case.ts'

const cases = pipelineCases.filter((each) => leftOut(each) === undefined)

describe.each(await testColumns())('$name $dtype', ({ name, backend, dtype }) => {
  const runner = pipelineRunner(backend, dtype)
  let passed = 0

  afterAll(async () => {
    await runner.dispose()
    console.log(`golden pipelines on ${name} ${dtype}: ${passed} passed of ${cases.length}`)
  })

  it.each(cases)('$id', async (testCase) => {
    const failures = (await runner.run(testCase)).filter(({ pass }) => !pass)
    const texts = failures.map((each) => `${each.name}: ${each.text}`)
    expect(texts, `${testCase.id} on ${backend.device.name}, ${dtype}`).toEqual([])
    passed++
  })
})

it('leaves out only what is not built', () => {
  const reasons = new Map<string, number>()
  for (const each of pipelineCases) {
    const reason = leftOut(each)
    if (reason) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  console.log(`left out: ${[...reasons].map(([reason, count]) => `${count} × ${reason}`).join(', ')}`)
  expect(cases.length).toBe(45)
})
