// The starter's goldens on an adapter, one process's part of them. Parts are for adapters that compute on the CPU, and take minutes a
// picture there. Usage: starter.js f16,f32 --kind software --adapter swiftshader --part 1/16 --model <folder> [--seconds N]
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { runStarterCase, starterCases } from '../../test/golden/starter-case.ts'
import { keptOpen } from '../../test/kept-open.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
    browser: { type: 'boolean', default: false },
    model: { type: 'string', default: 'models/starter' },
    part: { type: 'string', default: '1/1' },
    /** No picture is begun that would not end by then, going by the one before. */
    seconds: { type: 'string', default: '3600' },
  },
})
const dtypes = (positionals[0] ?? 'f16,f32').split(',') as StorageDType[]
const [part, parts] = values.part.split('/').map(Number) as [number, number]
const device = await openDevice({
  kind: values.kind as 'gpu' | 'software',
  adapter: values.adapter,
  browserLike: values.browser,
})
const shared = keptOpen(webgpuBackend(device))
const pipelines = new Map<StorageDType, TextToImage>()
const pairs = dtypes.flatMap((dtype) => starterCases().map((each) => ({ dtype, each })))
const mine = pairs.filter((_, i) => i % parts === part - 1)
const begin = performance.now()
let [passed, failed, left, longestMs] = [0, 0, 0, 0]

for (const { dtype, each } of mine) {
  const start = performance.now()
  if (start - begin + longestMs > Number(values.seconds) * 1000) {
    left++
    continue
  }
  const pipeline = pipelines.get(dtype) ?? (await openTextToImage(nodeFolder(values.model), dtype, async () => shared))
  pipelines.set(dtype, pipeline)
  const { pass, text } = await runStarterCase(each, pipeline, dtype)
  if (pass) passed++
  else failed++
  longestMs = Math.max(longestMs, performance.now() - start)
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  console.log(`${pass ? 'passed' : 'FAILED'} ${dtype} ${each.png} ${each.width}×${each.height}: ${text}; ${seconds} s`)
}
for (const pipeline of pipelines.values()) await pipeline.dispose()
if (left > 0) console.log(`${left} were left when the ${values.seconds} seconds had passed`)
console.log(`${device.description.name}: ${passed} passed, ${failed} failed`)
process.exit(failed > 0 ? 1 : 0)
