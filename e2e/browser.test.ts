// The example page in headless Chromium on its software adapter: the picture is Node's, and the page says what happens.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPipeline } from '../src/node.ts'
import { readPng } from '../test/png-read.ts'
import { launch } from './chromium.ts'
import {
  canvasPixels,
  openExamplePage,
  type Site,
  serveExamplePage,
  startDrawing,
  takeStatuses,
  waitForStatus,
} from './example-page.ts'

const apple = { prompt: 'a red apple', seed: 7, steps: 4, size: 128 } as const
const starter = fileURLToPath(new URL('../models/starter', import.meta.url))

let site: Site
beforeAll(async () => {
  site = await serveExamplePage()
})
afterAll(() => site?.close())

describe('with WebGPU', () => {
  let browser: Browser
  let page: Page
  const failures: string[] = []

  beforeAll(async () => {
    browser = await launch({ webgpu: true })
    page = await browser.newPage({ viewport: { width: 1000, height: 1000 } })
    page.on('pageerror', (error) => failures.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && failures.push(message.text()))
    await openExamplePage(page, site.url)
    await waitForStatus(page, /^Ready: .*f32\.$/)
  })
  afterAll(() => browser?.close())

  test('draws the picture that Node draws, and shows progress', async () => {
    const node = await openPipeline(starter, { device: 'software', adapter: 'swiftshader', dtype: 'f32' })
    const { images } = await node.generate({ ...apple, width: apple.size, height: apple.size })
    await node.dispose()

    await startDrawing(page, apple)
    await waitForStatus(page, /^Seed 7, /)
    const drawn = await canvasPixels(page)
    expect([drawn.width, drawn.height]).toEqual([apple.size, apple.size])
    const worst = worstDifference(drawn.pixels, images[0]!.pixels)
    console.log(`largest difference between browser and Node: ${worst} of 255`)
    expect(worst).toBeLessThanOrEqual(1)

    const seen = await takeStatuses(page)
    for (const component of ['text_encoder', 'unet', 'vae'])
      expect(seen.some((text) => text.startsWith(`Loading ${component}: `))).toBe(true)
    expect(seen.flatMap((text) => /^Step \d+ of \d+/.exec(text) ?? [])).toEqual(
      [1, 2, 3, 4].map((step) => `Step ${step} of 4`),
    )
    expect(failures).toEqual([])
  })

  test('offers the same picture as a PNG with its settings', async () => {
    const download = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Save as PNG' }).click()
    expect((await download).suggestedFilename()).toBe('phosphene-7.png')
    const png = readPng(await readFile(await (await download).path()))
    expect(png.pixels).toEqual((await canvasPixels(page)).pixels)
    expect(png.texts.get('parameters')?.text).toMatch(/^a red apple\n(?:.*\n)?Steps: 4, .*Seed: 7, Size: 128x128/)
  })

  test('cancels within a step, and draws the same picture again', async () => {
    const before = await canvasPixels(page)
    await startDrawing(page, { ...apple, steps: 50 })
    await waitForStatus(page, /^Step 2 of 50/)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await takeStatuses(page)
    await waitForStatus(page, /^Cancelled\.$/)
    expect((await takeStatuses(page)).filter((text) => text.startsWith('Step')).length).toBeLessThanOrEqual(1)
    expect(await page.locator('#error').isVisible()).toBe(false)

    await startDrawing(page, apple)
    await waitForStatus(page, /^Seed 7, /)
    expect((await canvasPixels(page)).pixels).toEqual(before.pixels)
  })

  test('shows what is wrong with the options, and what to do', async () => {
    await page.getByLabel('Size').evaluate((size: HTMLSelectElement) => {
      size.options[0]!.value = '130' // the form itself offers nothing wrong
      size.value = '130'
    })
    await page.getByRole('button', { name: 'Draw' }).click()
    await page.locator('#error').waitFor()
    expect(await page.locator('#error-code').textContent()).toBe('options/size')
    expect(await page.locator('#error-fix').textContent()).not.toBe('')
    expect(await page.getByRole('button', { name: 'Draw' }).isEnabled()).toBe(true)
  })
})

describe('without WebGPU', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch({ webgpu: false })
  })
  afterAll(() => browser?.close())

  test.each([
    { where: 'no adapter', message: /found no GPU/, prepare: () => {} },
    {
      where: 'no navigator.gpu',
      message: /offers no WebGPU/,
      prepare: () => Object.defineProperty(navigator, 'gpu', { value: undefined }),
    },
  ])('$where: the page says so and what to do', async ({ message, prepare }) => {
    const page = await browser.newPage()
    await page.addInitScript(prepare)
    await openExamplePage(page, site.url)
    await page.locator('#error').waitFor()
    expect(await page.locator('#error-code').textContent()).toBe('device/none')
    expect(await page.locator('#error-message').textContent()).toMatch(message)
    expect(await page.locator('#error-fix').textContent()).not.toBe('')
    expect(await page.getByRole('button', { name: 'Draw' }).isDisabled()).toBe(true)
    await page.close()
  })
})

test('the bundle holds nothing of Node and no ONNX Runtime, and stays small', async () => {
  const assets = join(site.folder, 'assets')
  const scripts = (await readdir(assets)).filter((name) => name.endsWith('.js'))
  const text = (await Promise.all(scripts.map((name) => readFile(join(assets, name), 'utf8')))).join('\n')
  expect(text).toMatch(/navigator/)
  for (const stranger of [/["'`]node:/, /__vite-browser-external/, /onnxruntime/]) expect(text).not.toMatch(stranger)
  // Kernels are text, and all variants of them travel: 425 kB, 141 kB compressed, of which 46 kB are libraries.
  expect(text.length).toBeLessThan(450_000)
})

function worstDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length)
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0)
}
