import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readPng } from '../../test/png-read.ts'
import type { Picture } from './pixels.ts'
import { encodePng } from './png.ts'

const starter = fileURLToPath(new URL('../../test/golden/starter/', import.meta.url))

const pictureArbitrary: fc.Arbitrary<Picture> = fc
  .record({
    width: fc.integer({ min: 1, max: 9 }),
    height: fc.integer({ min: 1, max: 9 }),
    channels: fc.constantFrom(3 as const, 4 as const),
    slope: fc.nat(40),
    seed: fc.nat(),
  })
  .map(({ slope, seed, ...size }) => ({
    ...size,
    // Ramps with a little noise, so that every filter has its turn.
    pixels: Uint8Array.from(
      { length: size.width * size.height * size.channels },
      (_, i) => i * slope + ((seed * (i + 1)) % 7),
    ),
  }))

describe('encodePng', () => {
  it('any picture and text come back', async () => {
    const text = fc.string({ unit: 'binary' }).map((each) => each.replaceAll('\0', ''))
    await fc.assert(
      fc.asyncProperty(pictureArbitrary, text, async (picture, parameters) => {
        const { texts, ...read } = readPng(await encodePng(picture, { parameters }))
        expect(read).toEqual(picture)
        expect(texts.get('parameters')?.text).toBe(parameters)
      }),
    )
  })

  it('the pictures of the reference come back, in no more than a tenth more bytes', async () => {
    const files = readdirSync(starter).filter((name) => name.endsWith('.png'))
    expect(files).toHaveLength(20)
    for (const name of files) {
      const file = readFileSync(starter + name)
      const { texts: _, ...picture } = readPng(file)
      const ours = await encodePng(picture)
      expect(Buffer.compare(readPng(ours).pixels, picture.pixels), name).toBe(0)
      expect(ours.length, name).toBeLessThan(1.1 * file.length)
    }
  })

  it('tEXt for Latin-1, iTXt for the rest; NUL has no place in either', async () => {
    const picture: Picture = { width: 1, height: 1, channels: 3, pixels: new Uint8Array(3) }
    const { texts } = readPng(await encodePng(picture, { parameters: 'größe\n½', Note: '猫 😀', nul: 'a\0b' }))
    expect(texts.get('parameters')).toEqual({ chunk: 'tEXt', text: 'größe\n½' })
    expect(texts.get('Note')).toEqual({ chunk: 'iTXt', text: '猫 😀' })
    expect(texts.get('nul')?.text).toBe('ab')
  })

  it('refuses pixels that do not fill the picture, and keywords that the format has no room for', async () => {
    const picture: Picture = { width: 2, height: 1, channels: 3, pixels: new Uint8Array(5) }
    await expect(encodePng(picture)).rejects.toMatchObject({
      code: 'internal',
      message: '2×1×3 pixels are not 5 bytes',
    })
    const right = { ...picture, pixels: new Uint8Array(6) }
    await expect(encodePng(right, { '': 'x' })).rejects.toMatchObject({ code: 'internal' })
    await expect(encodePng(right, { 猫: 'x' })).rejects.toMatchObject({ code: 'internal' })
  })
})
