// A page of one script, built by Vite with the library as its own source, and served as any static server would.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, preview } from 'vite'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** @param body of the page, before the script. @param publicDir what the server serves beside the page */
export async function serveScript(script: string, publicDir: string, body = '') {
  const folder = mkdtempSync(join(tmpdir(), 'phosphene-script-page-'))
  const page = `<!doctype html><body>${body}<script type="module" src="./script.js"></script>`
  writeFileSync(join(folder, 'index.html'), page)
  writeFileSync(join(folder, 'script.js'), script)
  const site = {
    configFile: false as const,
    logLevel: 'warn' as const,
    root: folder,
    publicDir,
    resolve: { alias: { phosphene: join(root, 'src/index.ts') } },
    build: { target: 'esnext', outDir: join(folder, 'dist') },
  }
  await build(site)
  const server = await preview({ ...site, preview: { host: '127.0.0.1', port: 0 } })
  return {
    url: server.resolvedUrls!.local[0]!,
    async close() {
      await server.close()
      rmSync(folder, { recursive: true })
    },
  }
}
