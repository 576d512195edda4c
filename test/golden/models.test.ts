// Every module of the small models against diffusers, on every executor and storage type, at the references' own marks.
import { afterAll, describe, expect, it } from 'vitest'
import { testColumns } from './executors.ts'
import { type ModuleComponent, moduleComponents, moduleRunner } from './module-case.ts'
import { type GoldenCase, loadIndex } from './read-golden.ts'

/** Cases that other tests own or that ask for what is not built, each with its reason. */
function leftOut({ id, component, model }: GoldenCase): string | undefined {
  if (model?.startsWith('fullsize')) return 'full-size weights are generated: a test of its own'
  switch (component) {
    case 'controlnet':
      return 'ControlNet is not built'
    case 'taesd_decode':
    case 'taesd_encode':
      return 'AutoencoderTiny is not built'
    case 'vae_decode_tiled':
      return 'tiled decoding is not built'
    default:
      return moduleComponents.includes(component as ModuleComponent) ? undefined : `${id} is no module`
  }
}

const ofModels = loadIndex().filter(
  ({ model, component }) => model !== undefined && !/pipeline|tokenizer/.test(component),
)
const cases = ofModels.filter((each) => leftOut(each) === undefined)

describe.each(await testColumns())('$name $dtype', ({ name, backend: { executor }, dtype }) => {
  const runner = moduleRunner(executor, dtype)
  const passed = new Map<ModuleComponent, number>(moduleComponents.map((component) => [component, 0]))

  it.each(cases)('$id', async (testCase) => {
    const comparisons = await runner.run(testCase)
    const failures = comparisons.filter(({ pass }) => !pass).map(({ name, text }) => `${name}: ${text}`)
    expect(failures, `${testCase.id} on ${executor.description}, ${dtype}`).toEqual([])
    const component = testCase.component as ModuleComponent
    passed.set(component, passed.get(component)! + 1)
  })

  afterAll(() => {
    runner.dispose()
    const totals = [...passed].map(([component, count]) => {
      const total = cases.filter((each) => each.component === component).length
      return `${component} ${count} of ${total}`
    })
    console.log(`${name} ${dtype}: ${totals.join(', ')}`)
  })
})

describe('the list of cases', () => {
  it('runs every module of the small models or says why not', () => {
    const reasons = new Set(ofModels.map(leftOut).filter((reason) => reason !== undefined))
    console.log(`left out here: ${[...reasons].join('; ')}`)
    expect([...reasons].filter((reason) => reason.endsWith('is no module'))).toEqual([])
    expect(new Set(cases.map(({ component }) => component))).toEqual(new Set(moduleComponents))
  })
})
