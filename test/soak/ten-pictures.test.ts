// Ten pictures in one process: what a server does all day. Nothing may grow with the number of pictures.
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { Device } from '../../src/device/device.ts'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import type { Backend } from '../../src/pipeline/backend-contract.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import { cpuBackend } from '../../src/pipeline/open-node.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'

const model = fileURLToPath(new URL('../golden/data/tiny/sd1', import.meta.url))
const pictures = 10
const settled = 3
/** What the allocators of Node, driver and ONNX Runtime keep or return between two pictures; no picture's share of a leak. */
const rssSlackBytes = 12e6

interface Soaked {
  readonly name: string
  readonly backend: Backend
  readonly device?: Device
}

async function swiftshader(): Promise<Soaked> {
  const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
  return { name: 'swiftshader', backend: webgpuBackend(device), device }
}

const soaked: readonly Soaked[] = [{ name: 'cpu', backend: await cpuBackend() }, await swiftshader()]

describe.each(soaked)('$name', ({ backend, device }) => {
  it('draws ten pictures in flat memory', async () => {
    const pipeline = await openTextToImage(nodeFolder(model), 'f32', async () => backend)
    const bufferBytes: number[] = []
    const rssBytes: number[] = []
    for (let i = 0; i < pictures; i++) {
      // Another prompt and seed each time; noise at every step and a PNG, so that everything a picture takes is taken.
      const { images } = await pipeline.generate({
        prompt: `picture ${i} of a soak`,
        negative: 'grey',
        seed: i,
        steps: 4,
        guidanceScale: 5,
        sampler: 'euler_a',
        width: 64,
        height: 64,
      })
      expect((await images[0]!.png()).length).toBeGreaterThan(0)
      bufferBytes.push(device?.bufferBytes ?? 0)
      rssBytes.push(await quietRss())
    }
    console.log(
      `${backend.device.name}: buffers ${bufferBytes.join(' ')} B, rss ${rssBytes.map(megabytes).join(' ')} MB`,
    )
    const [first, ...rest] = bufferBytes.slice(settled - 1)
    expect(rest).toEqual(rest.map(() => first))
    const after = rssBytes.slice(settled - 1)
    expect(Math.max(...after) - after[0]!, 'growth of the resident memory after the third picture').toBeLessThan(
      rssSlackBytes,
    )
    await pipeline.dispose()
    if (device) expect(device.bufferBytes).toBe(0)
  })
})

/** The resident memory once garbage is gone: buffers and sessions return theirs a task later. */
async function quietRss(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return process.memoryUsage.rss()
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
