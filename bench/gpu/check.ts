// Reference cases of the models' modules on a GPU. Usage: check.js [f32|f16] [filter] [--full <folder>] [--browser]
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { type ModuleComponent, moduleComponents, runModuleCase } from '../../test/golden/module-case.ts'
import { loadIndex } from '../../test/golden/read-golden.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    kind: { type: 'string', default: 'gpu' },
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
const device = await openDevice({ kind: values.kind as 'gpu' | 'software', browserLike: values.browser })
const executor = webgpuExecutor(device, { variants })
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
console.log(`${device.description.name} ${dtype}: ${passed} passed, ${failed} failed`)
await executor.dispose()
process.exit(0)
