// The README's library snippet for the browser, run in Chromium as it stands.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launch } from './chromium.ts'
import { root, serveScript } from './serve-script.ts'

const snippet = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)][1]![1]!

test('draws a picture into the page and shows the steps', async () => {
  const site = await serveScript(snippet, join(root, 'models'))
  const browser = await launch({ webgpu: true })
  try {
    const page = await browser.newPage()
    const failures: string[] = []
    page.on('pageerror', (error) => failures.push(String(error)))
    await page.goto(site.url)
    const image = page.locator('img')
    await image.waitFor({ timeout: 240_000 }).catch((error) => {
      throw new Error(`${failures.join('\n')} ${error}`)
    })
    expect(await page.title()).toBe('step 12 of 12')
    const size = await image.evaluate(async (element: HTMLImageElement) => {
      await element.decode()
      return [element.naturalWidth, element.naturalHeight]
    })
    expect(size).toEqual([128, 128])
    expect(failures).toEqual([])
  } finally {
    await browser.close()
    await site.close()
  }
})
