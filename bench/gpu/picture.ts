// A whole picture on a GPU, through the library as a user calls it: load to first step, then a long row of pictures: in turn one
// of new words, which is timed, and the first one again, which must come out the same.
// Usage: picture.js <folder> [--rows 10] [--browser] [--steps 20] [--size 512]
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { loadTimeline } from './load-timeline.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '10' },
    browser: { type: 'boolean', default: false },
    steps: { type: 'string', default: '20' },
    size: { type: 'string', default: '512' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
  },
})
const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!
const size = Number(values.size)
const request = {
  prompt: 'a photo of a cat',
  negative: 'blurry',
  steps: Number(values.steps),
  guidanceScale: 7.5,
  sampler: 'ddim',
  width: size,
  height: size,
}

const begin = performance.now()
const timeline = loadTimeline()
const device = await openDevice({
  kind: values.kind as 'gpu' | 'software',
  adapter: values.adapter,
  browserLike: values.browser,
})
timeline.watch(device)
const files = timeline.watched(nodeFolder(positionals[0]!))
const pipeline = await openTextToImage(files, 'f16', async () => webgpuBackend(device))
let loadToFirstStepMs = 0
let loading: object = {}
const first = await pipeline.generate({
  ...request,
  seed: 1,
  onProgress: (event) => {
    if (loadToFirstStepMs > 0) return
    timeline.event(event)
    if (event.kind !== 'step') return
    loadToFirstStepMs = performance.now() - begin
    loading = timeline.end()
  },
})
const pictures: number[] = []
const stages = { encodeMs: [] as number[], stepMs: [] as number[], decodeMs: [] as number[] }
const memory: { bytes: number; rss: number }[] = []
const digest = (pixels: Uint8Array) => pixels.reduce((hash, value) => (Math.imul(hash, 31) + value) | 0, 7)
const wanted = digest(first.images[0]!.pixels)
let drifted = 0
for (let i = 0; i < Number(values.rows); i++) {
  const again = i % 2 === 1
  // Encoded prompts are kept, and encoding is part of a picture: hence new words.
  const words = again ? {} : { prompt: `${request.prompt}, take ${i}`, negative: `${request.negative}, take ${i}` }
  const start = performance.now()
  const { images, timings } = await pipeline.generate({ ...request, ...words, seed: 1 })
  const elapsed = performance.now() - start
  memory.push({ bytes: device.bufferBytes, rss: process.memoryUsage().rss })
  if (again && digest(images[0]!.pixels) !== wanted) drifted++
  if (again) continue
  pictures.push(elapsed)
  stages.encodeMs.push(timings.encodeMs)
  stages.stepMs.push(median(timings.stepMs))
  stages.decodeMs.push(timings.decodeMs)
}
const result = {
  adapter: device.description.name,
  loadToFirstStepMs,
  loading,
  firstPicture: first.timings,
  pictureMs: median(pictures),
  pictureMsSpread: [Math.min(...pictures), Math.max(...pictures)],
  stages: Object.fromEntries(Object.entries(stages).map(([name, list]) => [name, median(list)])),
  pictures: memory.length,
  drifted,
  memoryAfterThird: memory[Math.min(2, memory.length - 1)],
  memoryAtEnd: memory.at(-1),
}
console.log(JSON.stringify(result))
await pipeline.dispose()
process.exit(0)
