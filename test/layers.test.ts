// Which folder may import which: the direction in which data flows through the engine, as a table.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../src', import.meta.url))

const belowPipeline = [
  'models',
  'sampling',
  'text',
  'image',
  'weights',
  'run',
  'device',
  'plan',
  'passes',
  'tensor',
] as const
const allowed: Readonly<Record<string, readonly string[]>> = {
  tensor: [],
  graph: ['tensor'],
  ops: ['graph', 'tensor'],
  passes: ['ops', 'graph', 'tensor'],
  kernels: ['ops', 'graph', 'tensor'],
  plan: ['kernels', 'ops', 'graph', 'tensor'],
  device: ['tensor'],
  text: ['tensor'],
  image: ['tensor'],
  weights: ['tensor'],
  models: ['ops', 'graph', 'tensor'],
  sampling: ['tensor'],
  run: ['plan', 'kernels', 'ops', 'graph', 'device', 'tensor'],
  pipeline: belowPipeline,
  report: ['pipeline', ...belowPipeline, 'graph', 'ops', 'kernels'],
  cli: ['pipeline', 'report'],
  // The package's entries.
  '': ['pipeline', 'weights', 'device', 'image'],
}

/** Packages that only some folders may load. */
const packages: Readonly<Record<string, readonly string[]>> = {
  'onnxruntime-node': ['run/onnx'],
  webgpu: ['device'],
  '@huggingface/tokenizers': ['text'],
  commander: ['cli'],
  'cli-progress': ['cli'],
  valibot: ['models', 'weights', 'text', 'pipeline'],
}

/** Files that only Node loads; nothing that a browser loads may import them. */
const nodeOnly = /(^|\/)(node|node-[\w-]+|[\w-]+-node|swiftshader)\.ts$|^(cli|report)\/|^run\/onnx\//

interface Import {
  readonly file: string
  readonly from: string
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
const imports: readonly Import[] = files.flatMap((file) =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^'\s]+)'/g)].map((match) => ({
    file,
    from: match[1]!,
  })),
)

const folderOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '')
const target = ({ file, from }: Import) => relative(root, join(root, dirname(file), from)).replaceAll('\\', '/')

describe('imports', () => {
  it('go along the table', () => {
    const wrong = imports
      .filter(({ from }) => from.startsWith('.'))
      .map((each) => ({ ...each, to: target(each) }))
      .filter(({ file, to }) => {
        const [here, there] = [folderOf(file), folderOf(to)]
        return to !== 'error.ts' && here !== there && !allowed[here]?.includes(there)
      })
    expect(wrong.map(({ file, to }) => `${file} → ${to}`)).toEqual([])
  })

  it('cover every folder', () => {
    expect([...new Set(files.map(folderOf))].filter((folder) => !(folder in allowed))).toEqual([])
  })

  it('load packages only where they belong', () => {
    const wrong = imports
      .filter(({ from }) => !from.startsWith('.') && !from.startsWith('node:'))
      .filter(({ file, from }) => !packages[from]?.some((folder) => file.startsWith(`${folder}/`)))
    expect(wrong.map(({ file, from }) => `${file} → ${from}`)).toEqual([])
  })

  it("keep Node's modules out of what browsers load", () => {
    const wrong = imports
      .filter(({ file }) => !nodeOnly.test(file))
      .filter((each) => each.from.startsWith('node:') || (each.from.startsWith('.') && nodeOnly.test(target(each))))
    expect(wrong.map(({ file, from }) => `${file} → ${from}`)).toEqual([])
  })

  it('carry their extension and pass through no barrel', () => {
    const wrong = imports.filter(({ from }) => from.startsWith('.') && !from.endsWith('.ts'))
    expect(wrong).toEqual([])
    expect(files.filter((file) => /\/index\.ts$/.test(file))).toEqual([])
  })
})

describe('files', () => {
  it('stay under 400 lines', () => {
    const long = files.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 400)
    expect(long).toEqual([])
  })
})
