// A checkpoint in one file in Chromium, by its address and as a File that a person picked: the picture is Node's.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openPipeline } from '../src/node.ts'
import { launch } from './chromium.ts'
import { root, serveScript } from './serve-script.ts'

const models = join(root, 'test/golden/data/tiny')
const name = 'sd1_single_file.fp16.safetensors'

/** Draws from the address, then from the file behind the page's input; leaves each picture's bytes in the window. */
const script = `
import { openPipeline } from 'phosphene'
const options = { prompt: 'a cat', seed: 3, steps: 2, width: 64, height: 64 }
async function draw(model) {
  const pipeline = await openPipeline(model, { config: '/sd1_fp16', dtype: 'f32' })
  const { images } = await pipeline.generate(options)
  await pipeline.dispose()
  return [...images[0].pixels]
}
window.fromAddress = () => draw('/${name}')
window.fromFile = () => draw(document.querySelector('input').files[0])
document.title = 'ready'
`

test('draws what Node draws, by address and as a File', async () => {
  const site = await serveScript(script, models, '<input type="file">')
  const browser = await launch({ webgpu: true })
  try {
    const file = join(models, name)
    const node = await openPipeline(file, {
      config: join(models, 'sd1_fp16'),
      device: 'software',
      adapter: 'swiftshader',
      dtype: 'f32',
    })
    const { images } = await node.generate({ prompt: 'a cat', seed: 3, steps: 2, width: 64, height: 64 })
    await node.dispose()
    const page = await browser.newPage()
    page.setDefaultTimeout(240_000)
    await page.goto(site.url)
    await page.waitForFunction(() => document.title === 'ready')
    await page.locator('input').setInputFiles(file)
    for (const way of ['fromAddress', 'fromFile'] as const) {
      const pixels = await page.evaluate(
        (each) => (globalThis as unknown as Record<string, () => Promise<number[]>>)[each]!(),
        way,
      )
      expect(pixels.length, way).toBe(images[0]!.pixels.length)
      const worst = pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - images[0]!.pixels[i]!)), 0)
      expect(worst, way).toBeLessThanOrEqual(1)
    }
  } finally {
    await browser.close()
    await site.close()
  }
})
