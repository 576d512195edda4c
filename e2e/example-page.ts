// The example page, built by Vite and served as any static server would, and what a test sees and does on it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { build, preview } from 'vite'

export interface Site {
  readonly url: string
  /** Of the built files. */
  readonly folder: string
  close(): Promise<void>
}

const configFile = fileURLToPath(new URL('../examples/browser/vite.config.ts', import.meta.url))

export async function serveExamplePage(): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'phosphene-page-'))
  const outDir = { build: { outDir: folder, emptyOutDir: true } }
  await build({ configFile, logLevel: 'warn', ...outDir })
  const server = await preview({ configFile, logLevel: 'warn', ...outDir, preview: { host: '127.0.0.1', port: 0 } })
  return {
    url: server.resolvedUrls!.local[0]!,
    folder,
    async close() {
      await server.close()
      await rm(folder, { recursive: true })
    },
  }
}

export interface Settings {
  readonly prompt: string
  readonly seed: number
  readonly steps: number
  readonly size: 128 | 256
}

/** Opens the page and keeps every text that its status line shows. */
export async function openExamplePage(page: Page, url: string): Promise<void> {
  await page.addInitScript(() => {
    const seen: string[] = []
    Object.assign(globalThis, { seenStatuses: seen })
    addEventListener('DOMContentLoaded', () => {
      const line = document.getElementById('status')!
      new MutationObserver(() => seen.push(line.textContent)).observe(line, { childList: true })
    })
  })
  await page.goto(url)
}

/** What the status line has shown since the last call. */
export function takeStatuses(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { seenStatuses: string[] }).seenStatuses.splice(0))
}

export async function startDrawing(page: Page, { prompt, seed, steps, size }: Settings): Promise<void> {
  await page.getByLabel('Prompt').fill(prompt)
  await page.getByLabel('Seed').fill(String(seed))
  await page.getByLabel('Steps').fill(String(steps))
  await page.getByLabel('Size').selectOption(String(size))
  await page.getByRole('button', { name: 'Draw' }).click()
}

export function waitForStatus(page: Page, text: RegExp): Promise<void> {
  return page.locator('#status').filter({ hasText: text }).waitFor({ timeout: 240_000 })
}

/** The canvas as [height, width, RGB]. */
export async function canvasPixels(page: Page): Promise<{ width: number; height: number; pixels: Uint8Array }> {
  const { width, height, rgba } = await page.evaluate(() => {
    const canvas = document.querySelector('canvas')!
    const { data, width, height } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
    return { width, height, rgba: [...data] }
  })
  return { width, height, pixels: Uint8Array.from(rgba.filter((_, i) => i % 4 !== 3)) }
}
