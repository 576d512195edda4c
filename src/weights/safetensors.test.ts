import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { goldenFolder, readGolden } from '../../test/golden/read-golden.ts'
import { PhospheneError } from '../error.ts'
import { bytesPerElement, type FileDType } from '../tensor/dtype.ts'
import { memoryBytes } from './byte-source.ts'
import { openFile } from './node-files.ts'
import { openSafetensors, type TensorEntry, writeSafetensors } from './safetensors.ts'

const dtypes = Object.keys(bytesPerElement) as FileDType[]

/** A file with this JSON (or text) as header and `bufferBytes` zeros behind it. */
function fileOf(header: unknown, bufferBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const file = new Uint8Array(8 + json.length + bufferBytes)
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true)
  file.set(json, 8)
  return file
}

const open = (file: Uint8Array) => openSafetensors(memoryBytes('x.safetensors', file))

/** Opens and reads all; anything but a PhospheneError is a failure of the reader. */
async function outcome(file: Uint8Array): Promise<'read' | PhospheneError> {
  try {
    const source = await open(file)
    for (const { name, byteLength } of source.tensors.values())
      if ((await source.read(name)).length !== byteLength) throw new Error(`${name}: not ${byteLength} bytes`)
    return 'read'
  } catch (error) {
    if (error instanceof PhospheneError) return error
    throw error
  }
}

const tensorArbitrary: fc.Arbitrary<TensorEntry> = fc
  .record({
    name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.nat(5), { maxLength: 4 }),
    seed: fc.nat(255),
  })
  .map(({ seed, ...header }) => {
    const length = header.shape.reduce((a, b) => a * b, bytesPerElement[header.dtype])
    return { ...header, bytes: Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 255) }
  })
const tensorsArbitrary = fc.uniqueArray(tensorArbitrary, { selector: (tensor) => tensor.name, maxLength: 8 })

describe('round trip', () => {
  it('any tensors with any names come back as they were', async () => {
    await fc.assert(
      fc.asyncProperty(tensorsArbitrary, fc.string({ unit: 'grapheme' }), async (tensors, note) => {
        const source = await open(writeSafetensors(tensors, { note }))
        expect(source.metadata).toEqual({ note })
        expect([...source.tensors.keys()].sort()).toEqual(tensors.map((tensor) => tensor.name).sort())
        for (const { name, dtype, shape, bytes } of tensors) {
          expect(source.tensors.get(name)).toMatchObject({ name, dtype, shape, byteLength: bytes.length })
          expect(await source.read(name)).toEqual(bytes)
        }
      }),
    )
  })

  it('the buffer starts at a multiple of 8 and each tensor at a multiple of its element', async () => {
    await fc.assert(
      fc.asyncProperty(tensorsArbitrary, async (tensors) => {
        const file = writeSafetensors(tensors)
        const source = await openSafetensors({ ...memoryBytes('x', file), path: '/x' })
        for (const { name, dtype } of tensors) expect(source.locate(name)!.offset % bytesPerElement[dtype]).toBe(0)
      }),
    )
  })

  it('refuses to write a tensor whose bytes do not fill its shape', () => {
    const short = { name: 'a', dtype: 'F32', shape: [2], bytes: new Uint8Array(7) } as const
    expect(() => writeSafetensors([short])).toThrow('tensor a: [2] of F32 takes 8 bytes, given 7')
  })
})

describe('files of the reference', () => {
  it.each(['tiny/sd1/text_encoder/model.safetensors', 'tiny/sd1_single_file.fp16.safetensors', 'noise.safetensors'])(
    '%s: names, types, shapes and bytes',
    async (file) => {
      const source = await openSafetensors(await openFile(goldenFolder + file))
      const golden = readGolden(file)
      expect([...source.tensors.keys()].sort()).toEqual([...golden.keys()].sort())
      const whole = readFileSync(goldenFolder + file)
      for (const [name, { dtype, shape, data }] of golden) {
        expect(source.tensors.get(name)).toMatchObject({ dtype, shape, byteLength: data.byteLength })
        const want = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        expect(Buffer.compare(await source.read(name), want), name).toBe(0)
        const { offset, length } = source.locate(name)!
        expect(Buffer.compare(whole.subarray(offset, offset + length), want), name).toBe(0)
      }
      await source.close()
    },
  )
})

const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

describe('headers that lie', () => {
  const lies: readonly (readonly [string, Uint8Array, string, string])[] = [
    ['empty file', new Uint8Array(0), 'weights/truncated', 'the file has 0 bytes'],
    ['length over the cap', lengthOnly(100_000_001n, 9), 'weights/header', '100000001 bytes, at most 100000000'],
    ['length of 2^64 − 1', lengthOnly(2n ** 64n - 1n, 9), 'weights/header', '18446744073709551615 bytes'],
    ['length past the end', lengthOnly(100n, 20), 'weights/truncated', 'end at byte 108, the file has 20'],
    ['no JSON', fileOf('{"a":', 0), 'weights/header', 'not JSON in UTF-8'],
    ['no UTF-8', badUtf8(), 'weights/header', 'not JSON in UTF-8'],
    ['an array', fileOf([], 0), 'weights/header', 'not an object'],
    ['null', fileOf(null, 0), 'weights/header', 'is null'],
    [
      'entry without offsets',
      fileOf({ a: { dtype: 'F32', shape: [] } }, 4),
      'weights/header',
      'tensor a: data_offsets',
    ],
    ['negative size', fileOf({ a: f32([-1], 0, 4) }, 4), 'weights/header', 'tensor a: shape.0'],
    ['fractional size', fileOf({ a: f32([1.5], 0, 6) }, 6), 'weights/header', 'tensor a: shape.0'],
    [
      'unknown type',
      fileOf({ a: { ...f32([1], 0, 1), dtype: 'F8_E4M3' } }, 1),
      'weights/dtype',
      'tensor a has the element type F8_E4M3',
    ],
    ['inherited type name', fileOf({ a: { ...f32([1], 0, 1), dtype: 'toString' } }, 1), 'weights/dtype', 'toString'],
    ['backwards', fileOf({ a: f32([0], 4, 0) }, 4), 'weights/header', 'tensor a ends at byte 0, before its start at 4'],
    ['past the end', fileOf({ a: f32([2], 0, 8) }, 4), 'weights/truncated', 'tensor a ends at byte'],
    [
      'shape and place disagree',
      fileOf({ a: f32([2, 3], 0, 20) }, 20),
      'weights/header',
      'shape [2,3] of F32 takes 24 bytes, its place has 20',
    ],
    [
      'a product beyond all integers',
      fileOf({ a: f32([2 ** 40, 2 ** 40], 0, 4) }, 4),
      'weights/header',
      'its place has 4',
    ],
    ['overlap', fileOf({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), 'weights/header', 'tensor b starts at byte'],
    ['the same place twice', fileOf({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4), 'weights/header', 'inside tensor a'],
    ['hole', fileOf({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), 'weights/header', 'between tensor a and tensor b'],
    ['bytes left over', fileOf({ a: f32([1], 0, 4) }, 9), 'weights/header', 'the last tensor ends at byte'],
    [
      'a name twice',
      fileOf(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        8,
      ),
      'weights/header',
      'names "a" twice',
    ],
    ['metadata that is no map', fileOf({ __metadata__: { a: 1 } }, 0), 'weights/header', '__metadata__'],
    ['a pickle', lengthOnly(0x0000_0004_0403_4b50n, 64), 'model/unsupported', 'PyTorch pickle'],
    [
      'a Git LFS pointer',
      new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
      'weights/header',
      'Git LFS pointer',
    ],
  ]

  it.each(lies)('%s', async (_, file, code, message) => {
    const error = await outcome(file)
    expect(error).toMatchObject({ code })
    expect((error as PhospheneError).message).toContain('x.safetensors')
    expect((error as PhospheneError).message).toContain(message)
    expect((error as PhospheneError).fix).not.toBe('')
  })

  function lengthOnly(length: bigint, fileBytes: number): Uint8Array {
    const file = new Uint8Array(fileBytes)
    new DataView(file.buffer).setBigUint64(0, length, true)
    return file
  }

  function badUtf8(): Uint8Array {
    const file = fileOf({ abc: f32([1], 0, 4) }, 4)
    file[10] = 0xff
    return file
  }

  it('what is legal stays legal: no tensors, scalars, empty tensors, padding, names of Object.prototype', async () => {
    expect(await outcome(fileOf('{}', 0))).toBe('read')
    expect(await outcome(fileOf('{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}    ', 4))).toBe('read')
    const names =
      '{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"constructor":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    expect([...(await open(fileOf(names, 1))).tensors.keys()].sort()).toEqual(['__proto__', 'constructor'])
  })

  it('a header of 640 bytes starts as an old pickle does', async () => {
    expect(await outcome(fileOf('{}'.padEnd(640), 0))).toBe('read')
  })

  it('metadata may hold a picture of megabytes', async () => {
    const thumbnail = 'x'.repeat(8_000_000) + '\\"'.repeat(1_000_000)
    expect((await open(fileOf({ __metadata__: { thumbnail } }, 0))).metadata.thumbnail).toBe(thumbnail)
  })
})

describe('damaged files', () => {
  const whole = readFileSync(`${goldenFolder}tiny/taesd/diffusion_pytorch_model.safetensors`)
  const headerEnd = 8 + Number(whole.readBigUInt64LE(0))

  it('cut anywhere: always a PhospheneError', async () => {
    const cuts = [...Array(64).keys(), headerEnd - 1, headerEnd, headerEnd + 1, whole.length - 1]
    for (let at = 64; at < whole.length; at += 97) cuts.push(at)
    for (const at of cuts)
      expect(await outcome(whole.subarray(0, at)), `cut at ${at}`).toMatchObject({ code: 'weights/truncated' })
  })

  it('bytes of the header changed: read, or a PhospheneError', async () => {
    const mutation = fc.tuple(fc.nat(headerEnd - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
        const file = Uint8Array.from(whole)
        for (const [at, byte] of mutations) file[at] = byte
        await outcome(file)
      }),
      { numRuns: 500 },
    )
  })

  it('any JSON as header: read, or a PhospheneError', async () => {
    const offsets = fc.tuple(fc.integer({ min: -2, max: 20 }), fc.integer({ min: -2, max: 20 }))
    const entry = fc.record({
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.nat(3), { maxLength: 2 }),
      data_offsets: offsets,
    })
    const header = fc.oneof(
      fc.json(),
      fc.dictionary(fc.string(), fc.oneof({ weight: 5, arbitrary: entry }, { weight: 1, arbitrary: fc.jsonValue() })),
    )
    await fc.assert(
      fc.asyncProperty(header, fc.nat(24), async (value, bufferBytes) => {
        await outcome(fileOf(value, bufferBytes))
      }),
      { numRuns: 1000 },
    )
  })
})
