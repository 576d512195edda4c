// The README's library snippet for Node, run as it stands. The browser's is run in Chromium (e2e/readme.test.ts).
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { readPng } from './png-read.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The snippets in JavaScript, in their order: Node, then browser. */
const snippets = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map((m) => m[1]!)

it('has one snippet for Node and one for the browser, each under ten lines', () => {
  expect(snippets).toHaveLength(2)
  for (const snippet of snippets) expect(snippet.trim().split('\n').length).toBeLessThan(10)
})

it("draws a picture with Node's snippet", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'phosphene-readme-'))
  const before = process.cwd()
  try {
    await symlink(join(root, 'models'), join(folder, 'models'))
    const entry = pathToFileURL(join(root, 'src/node.ts')).href
    await writeFile(join(folder, 'snippet.ts'), snippets[0]!.replace("'phosphene'", `'${entry}'`))
    process.chdir(folder)
    await import(pathToFileURL(join(folder, 'snippet.ts')).href)
    const png = readPng(await readFile(join(folder, 'apple.png')))
    expect([png.width, png.height]).toEqual([256, 256])
    expect(png.texts.get('parameters')!.text).toMatch(/^a red apple\nSteps: 12, Sampler: DPM\+\+ 2M, .*Seed: 7/)
  } finally {
    process.chdir(before)
    await rm(folder, { recursive: true })
  }
})
