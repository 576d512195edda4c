// Reference cases of the models' modules and of whole pipelines on a GPU. Usage: check.js [f32|f16] [filter] [--full <folder>] [--browser]
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { fullSizeCases, fullSizeRunner } from '../../test/full-size/full-size-case.ts'
import { type ModuleComponent, moduleComponents, runModuleCase } from '../../test/golden/module-case.ts'
import { leftOut, pipelineCases, pipelineRunner } from '../../test/golden/pipeline-case.ts'
import { loadIndex } from '../../test/golden/read-golden.ts'
import { keptOpen } from '../../test/kept-open.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    full: { type: 'string' },
    only: { type: 'string', default: '' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
    variants: { type: 'string' },
  },
})
const [dtype = 'f16', filter = 'tiny/'] = positionals
const variants = Object.fromEntries(
  (values.variants ?? '')
    .split(',')
    .filter(Boolean)
    .map((v) => v.split('=') as [string, string]),
)
const device = await openDevice({
  kind: values.kind as 'gpu' | 'software',
  adapter: values.adapter,
  browserLike: values.browser,
})
const executor = webgpuExecutor(device, { variants })
const backend = { ...webgpuBackend(device), executor }
let passed = 0
let failed = 0
for (const testCase of loadIndex()) {
  const { component, model, id } = testCase
  if (
    !moduleComponents.includes(component as ModuleComponent) ||
    model?.startsWith('fullsize') ||
    model?.endsWith('.safetensors') ||
    !id.includes(filter)
  )
    continue
  try {
    const wrong = (await runModuleCase(testCase, executor, dtype as StorageDType)).filter((c) => !c.pass)
    if (wrong.length) console.log(`${id}: ${wrong.map((c) => `${c.name}: ${c.text}`).join('; ')}`)
    if (wrong.length) failed++
    else passed++
  } catch (error) {
    failed++
    console.log(`${id}: ${error}`)
  }
}
const pipelines = pipelineRunner(keptOpen(backend), dtype as StorageDType)
const wholePictures = pipelineCases.filter((each) => leftOut(each) === undefined && each.model!.includes(filter))
for (const testCase of wholePictures) {
  try {
    const wrong = (await pipelines.run(testCase)).filter((c) => !c.pass)
    if (wrong.length) console.log(`${testCase.id}: ${wrong.map((c) => `${c.name}: ${c.text}`).join('; ')}`)
    if (wrong.length) failed++
    else passed++
  } catch (error) {
    failed++
    console.log(`${testCase.id}: ${error}`)
  }
}
await pipelines.dispose()
console.log(`of these ${wholePictures.length} whole pictures`)
if (values.full) {
  const runner = fullSizeRunner(values.full, executor, dtype as StorageDType)
  for (const testCase of fullSizeCases().filter(({ id }) => id.includes(values.only))) {
    try {
      const results = await runner.run(testCase)
      for (const { name, text } of results) console.log(`${testCase.id} ${name}: ${text}`)
      if (results.every((c) => c.pass)) passed++
      else failed++
    } catch (error) {
      failed++
      console.log(`${testCase.id}: ${error}`)
    }
  }
  runner.dispose()
}
console.log(`${device.description.name} ${dtype}: ${passed} passed, ${failed} failed`)
await executor.dispose()
process.exit(failed > 0 ? 1 : 0)
