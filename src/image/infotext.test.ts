import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseInfotext, writeInfotext } from './infotext.ts'

const fields = { Steps: '20', Sampler: 'Euler', 'CFG scale': '7.5', Seed: '1', Size: '512x512' }

describe('writeInfotext', () => {
  it("A1111's lines in A1111's order, extras before Version, undefined left out", () => {
    const text = writeInfotext({
      prompt: 'a red apple,\non a table',
      negativePrompt: 'blurry',
      fields: {
        Version: 'phosphene 0.1.0',
        Size: '256x256',
        'Guidance rescale': 0.7,
        Seed: 1,
        'CFG scale': 7.5,
        'Schedule type': 'Karras',
        Sampler: 'DPM++ 2M',
        Steps: 20,
        'Clip skip': undefined,
        RNG: 'CPU',
        Model: 'starter',
      },
    })
    expect(text).toBe(
      'a red apple,\non a table\nNegative prompt: blurry\n' +
        'Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 256x256, Model: starter, ' +
        'RNG: CPU, Guidance rescale: 0.7, Version: phosphene 0.1.0',
    )
  })

  it('quotes what a comma, colon or line end would break', () => {
    const text = writeInfotext({ prompt: 'x', fields: { ...fields, 'Lora hashes': 'a: 1, "b": 2\nc' } })
    expect(text).toContain(String.raw`Lora hashes: "a: 1, \"b\": 2\nc"`)
  })
})

describe('parseInfotext', () => {
  it('reads what A1111 wrote', () => {
    const text = `photo of (a cat:1.2), <lora:x:0.8>
second line
Negative prompt: bad, ugly
worse
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Denoising strength: 0.7, Clip skip: 2, Hires upscale: 2, TI hashes: "EasyNegative: c74b4e810b03", Version: v1.10.1`
    expect(parseInfotext(text)).toEqual({
      prompt: 'photo of (a cat:1.2), <lora:x:0.8>\nsecond line',
      negativePrompt: 'bad, ugly\nworse',
      fields: {
        Steps: '28',
        Sampler: 'DPM++ 2M',
        'Schedule type': 'Karras',
        'CFG scale': '7',
        Seed: '965400086',
        Size: '512x768',
        'Model hash': '6ce0161689',
        Model: 'v1-5-pruned-emaonly',
        'Denoising strength': '0.7',
        'Clip skip': '2',
        'Hires upscale': '2',
        'TI hashes': 'EasyNegative: c74b4e810b03',
        Version: 'v1.10.1',
      },
    })
  })

  it('fewer than three pairs are a prompt', () => {
    expect(parseInfotext('a cat\nSteps: 20, Seed: 1')).toEqual({
      prompt: 'a cat\nSteps: 20, Seed: 1',
      negativePrompt: '',
      fields: {},
    })
    expect(parseInfotext('')).toEqual({ prompt: '', negativePrompt: '', fields: {} })
  })

  it('a value that only looks quoted stays as it is', () => {
    const text = String.raw`x
Steps: 1, Seed: 2, Sampler: Euler, Note: "\q"`
    expect(parseInfotext(text).fields.Note).toBe(String.raw`"\q"`)
  })

  it('long texts take no long time', () => {
    const started = performance.now()
    parseInfotext('a'.repeat(1_000_000))
    parseInfotext(`${'a: "'.repeat(100_000)}`)
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe('round trip', () => {
  const line = fc.string({ unit: 'grapheme' }).map((each) => each.trim())
  const prompt = fc
    .array(line, { maxLength: 3 })
    .map((lines) => lines.join('\n').trim())
    .filter((text) => !/^Negative prompt:/m.test(text))
  const value = fc.string({ unit: 'binary' })
  it('any prompts and values come back', () => {
    fc.assert(
      fc.property(
        prompt,
        prompt,
        fc.dictionary(fc.stringMatching(/^[A-Za-z][A-Za-z0-9 /-]{1,20}$/), value),
        (a, b, extra) => {
          const settings = { prompt: a, negativePrompt: b, fields: { ...extra, ...fields } }
          expect(parseInfotext(writeInfotext(settings))).toEqual(settings)
        },
      ),
      { numRuns: 1000 },
    )
  })
})
