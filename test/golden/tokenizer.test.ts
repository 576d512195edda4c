// The tokenizer against transformers' ids: padded and raw, out of tokenizer.json and out of vocab.json + merges.txt.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { loadTokenizer } from '../../src/text/tokenizer.ts'
import type { TextFiles } from '../../src/text/tokenizer-files.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { goldenFolder, loadIndex } from './read-golden.ts'

interface Cases {
  readonly strings: readonly string[]
  readonly max_length: number
  readonly sd1: {
    readonly padded: readonly (readonly number[])[]
    readonly raw: readonly (readonly number[] | null)[]
    readonly raw_len: readonly number[]
  }
  readonly sd2: { readonly padded: readonly (readonly number[])[] }
}

const cases: Cases = JSON.parse(readFileSync(`${goldenFolder}tiny/tokenizer_cases.json`, 'utf8'))

/** SD 1.5's and SD 2's own folders have no tokenizer.json. */
function withoutTokenizerJson(files: TextFiles): TextFiles {
  return { ...files, exists: async (path) => !path.endsWith('tokenizer.json') && (await files.exists(path)) }
}

const forms: readonly (readonly [string, (files: TextFiles) => TextFiles])[] = [
  ['tokenizer.json', (files) => files],
  ['vocab.json + merges.txt', withoutTokenizerJson],
]

describe.each(forms)('from %s', (_, form) => {
  it.each(['sd1', 'sd2'] as const)('%s: all strings, padded', async (model) => {
    const tokenizer = await loadTokenizer(form(nodeFolder(`${goldenFolder}tiny/${model}`)))
    expect(tokenizer.maxLength).toBe(cases.max_length)
    expect(cases.strings).toHaveLength(60)
    for (const [i, text] of cases.strings.entries())
      expect([...tokenizer.encode(text).ids], JSON.stringify(text)).toEqual(cases[model].padded[i])
  })

  it('sd1: all strings, raw, and what is cut off', async () => {
    const tokenizer = await loadTokenizer(form(nodeFolder(`${goldenFolder}tiny/sd1`)))
    for (const [i, text] of cases.strings.entries()) {
      const raw = cases.sd1.raw[i]
      if (raw) expect([...tokenizer.tokenIds(text)], JSON.stringify(text)).toEqual(raw)
      const length = cases.sd1.raw_len[i]!
      expect(tokenizer.tokenIds(text), JSON.stringify(text)).toHaveLength(length)
      expect(tokenizer.encode(text).truncated, JSON.stringify(text)).toBe(Math.max(0, length - cases.max_length + 2))
    }
  })

  it("the starter's prompts", async () => {
    const folder = fileURLToPath(new URL('../../models/starter', import.meta.url))
    const golden: { prompts: { prompt: string; token_ids: number[] }[] } = JSON.parse(
      readFileSync(new URL('./starter/golden.json', import.meta.url), 'utf8'),
    )
    const tokenizer = await loadTokenizer(form(nodeFolder(folder)))
    expect(golden.prompts.length).toBeGreaterThan(0)
    for (const { prompt, token_ids } of golden.prompts)
      expect([...tokenizer.encode(prompt).ids], prompt).toEqual(token_ids)
  })
})

it('the index lists tokenizer cases of no other model', () => {
  expect(new Set(loadIndex('tokenizer').map((each) => each.model))).toEqual(new Set(['tiny/sd1', 'tiny/sd2']))
})
