import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { goldenFolder } from '../../test/golden/read-golden.ts'
import { PhospheneError } from '../error.ts'
import { loadTokenizer } from './tokenizer.ts'
import type { TextFiles } from './tokenizer-files.ts'

const names = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.json',
  'merges.txt',
] as const
type Name = (typeof names)[number]

/** tiny/sd1's tokenizer with some files replaced, or left out. */
function files(changes: Readonly<Partial<Record<Name, string | undefined>>> = {}): TextFiles {
  const texts = new Map<string, string>()
  for (const name of names) {
    const text = name in changes ? changes[name] : readFileSync(`${goldenFolder}tiny/sd1/tokenizer/${name}`, 'utf8')
    if (text !== undefined) texts.set(`tokenizer/${name}`, text)
  }
  return { label: 'model', exists: async (path) => texts.has(path), text: async (path) => texts.get(path)! }
}

const pair = { 'tokenizer.json': undefined }
const json = (name: Name) => JSON.parse(readFileSync(`${goldenFolder}tiny/sd1/tokenizer/${name}`, 'utf8'))

describe('encode', () => {
  it('start, prompt, end, pads; says what was cut off', async () => {
    const tokenizer = await loadTokenizer(files())
    expect(tokenizer).toMatchObject({ maxLength: 77, startId: 742, endId: 743, padId: 743, vocabSize: 744 })
    const { ids, truncated } = tokenizer.encode('a cat')
    expect(truncated).toBe(0)
    expect([...ids]).toEqual([
      742,
      ...tokenizer.tokenIds('a cat'),
      ...Array(75 - tokenizer.tokenIds('a cat').length).fill(743),
      743,
    ])
    const long = tokenizer.encode('1'.repeat(100))
    expect(long.truncated).toBe(25)
    expect([long.ids.length, long.ids[75], long.ids[76]]).toEqual([77, tokenizer.tokenIds('1')[0], 743])
  })

  it('takes any string, lone surrogates too, and gives ids of the vocabulary', async () => {
    const tokenizer = await loadTokenizer(files())
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)),
    )
    fc.assert(
      fc.property(text, (prompt) => {
        const { ids } = tokenizer.encode(prompt)
        expect(ids).toHaveLength(77)
        for (const id of ids) expect(id >= 0 && id < tokenizer.vocabSize, `${id}`).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

describe('settings', () => {
  it('without configs: the names of CLIP, 77 tokens, padded by the end token', async () => {
    const tokenizer = await loadTokenizer(
      files({ ...pair, 'tokenizer_config.json': undefined, 'special_tokens_map.json': undefined }),
    )
    expect(tokenizer).toMatchObject({ maxLength: 77, startId: 742, endId: 743, padId: 743 })
  })

  it('the pad token of either config; a length that is left open', async () => {
    const { pad_token: _, ...config } = json('tokenizer_config.json')
    const map = { 'special_tokens_map.json': JSON.stringify({ pad_token: { content: '!' } }) }
    const open = { 'tokenizer_config.json': JSON.stringify({ ...config, model_max_length: 1e30 }) }
    expect(await loadTokenizer(files({ ...pair, ...map, ...open }))).toMatchObject({ maxLength: 77, padId: 0 })
    const short = { 'tokenizer_config.json': JSON.stringify({ ...config, pad_token: '!', model_max_length: 10 }) }
    expect((await loadTokenizer(files(short))).encode('a cat').ids).toHaveLength(10)
  })

  it('words that JavaScript objects have by nature are words', async () => {
    const vocab = { ...json('vocab.json'), constructor: 744 }
    expect((await loadTokenizer(files({ ...pair, 'vocab.json': JSON.stringify(vocab) }))).vocabSize).toBe(745)
  })
})

describe('missing and broken files', () => {
  const missing: readonly (readonly [string, Parameters<typeof files>[0], string])[] = [
    ['nothing', { ...pair, 'vocab.json': undefined, 'merges.txt': undefined }, 'model/tokenizer has no tokenizer'],
    ['vocab.json alone', { ...pair, 'merges.txt': undefined }, 'of which merges.txt is missing'],
    ['merges.txt alone', { ...pair, 'vocab.json': undefined }, 'of which vocab.json is missing'],
  ]
  it.each(missing)('%s', async (_, changes, message) => {
    await expect(loadTokenizer(files(changes))).rejects.toMatchObject({
      code: 'tokenizer/missing',
      message: expect.stringContaining(message),
    })
  })

  const tokenizer = json('tokenizer.json')
  const { '<|startoftext|>': _start, ...headless } = json('vocab.json')
  const broken: readonly (readonly [string, Parameters<typeof files>[0], string])[] = [
    ['no JSON', { 'tokenizer.json': '{"model":' }, 'model/tokenizer/tokenizer.json: not JSON'],
    [
      'another model',
      { 'tokenizer.json': JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, type: 'Unigram' } }) },
      'model.type',
    ],
    [
      'no merges',
      { 'tokenizer.json': JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, merges: undefined } }) },
      'model.merges',
    ],
    [
      'an id that is a word',
      { 'tokenizer.json': JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, vocab: { a: 'b' } } }) },
      'model.vocab',
    ],
    [
      'an unknown normalizer',
      { 'tokenizer.json': JSON.stringify({ ...tokenizer, normalizer: { type: 'Nothing' } }) },
      'cannot be built',
    ],
    [
      'a pad token that is no word',
      { 'tokenizer_config.json': JSON.stringify({ ...json('tokenizer_config.json'), pad_token: '<pad>' }) },
      '<pad>',
    ],
    ['a broken config', { 'tokenizer_config.json': '[' }, 'model/tokenizer/tokenizer_config.json: not JSON'],
    ['a length of nothing', { 'tokenizer_config.json': '{"model_max_length": 2}' }, 'model_max_length'],
    ['a vocabulary without its start token', { ...pair, 'vocab.json': JSON.stringify(headless) }, '<|startoftext|>'],
    ['a vocabulary that is a list', { ...pair, 'vocab.json': '["a"]' }, 'vocab.json'],
  ]
  it.each(broken)('%s', async (_, changes, message) => {
    await expect(loadTokenizer(files(changes))).rejects.toMatchObject({
      code: 'tokenizer/invalid',
      message: expect.stringContaining(message),
    })
  })

  it('any damage to the files: loaded, or a PhospheneError', async () => {
    const damage = fc.record({
      name: fc.constantFrom(...names),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      put: fc.constantFrom('', '0', '"', '{', '\n', 'null'),
    })
    await fc.assert(
      fc.asyncProperty(damage, fc.boolean(), async ({ name, at, put }, old) => {
        const text = readFileSync(`${goldenFolder}tiny/sd1/tokenizer/${name}`, 'utf8')
        const cut = Math.floor(at * text.length)
        const changes = {
          ...(old ? pair : {}),
          [name]: text.slice(0, cut) + put + (put === '' ? '' : text.slice(cut + 1)),
        }
        await loadTokenizer(files(changes)).then(
          (loaded) => loaded.encode('a cat'),
          (error) => {
            if (!(error instanceof PhospheneError)) throw error
          },
        )
      }),
      { numRuns: 200 },
    )
  })
})
