// The README's library snippet for the browser, run in Chromium as it stands.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, preview } from 'vite'
import { expect, test } from 'vitest'
import { launch } from './chromium.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const snippet = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)][1]![1]!

test('draws a picture into the page and shows the steps', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'phosphene-readme-page-'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><body><script type="module" src="./snippet.js"></script>')
  writeFileSync(join(folder, 'snippet.js'), snippet)
  const site = {
    configFile: false as const,
    logLevel: 'warn' as const,
    root: folder,
    publicDir: join(root, 'models'),
    resolve: { alias: { phosphene: join(root, 'src/index.ts') } },
    build: { target: 'esnext', outDir: join(folder, 'dist') },
  }
  await build(site)
  const server = await preview({ ...site, preview: { host: '127.0.0.1', port: 0 } })
  const browser = await launch({ webgpu: true })
  try {
    const page = await browser.newPage()
    const failures: string[] = []
    page.on('pageerror', (error) => failures.push(String(error)))
    await page.goto(server.resolvedUrls!.local[0]!)
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
    await server.close()
    rmSync(folder, { recursive: true })
  }
})
