import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobBytes } from './blob.ts'
import { nodeFolder, openFile } from './node-files.ts'
import { writeSafetensorsFile } from './node-write.ts'
import { openSafetensors, writeSafetensors } from './safetensors.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'phosphene-'))
  await writeFile(
    join(folder, 'bytes'),
    Uint8Array.from({ length: 100 }, (_, i) => i),
  )
  await mkdir(join(folder, 'sub'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('openFile', () => {
  it('reads ranges, also empty ones, and none outside the file', async () => {
    const file = await openFile(join(folder, 'bytes'))
    expect(file.size).toBe(100)
    expect(file.path).toBe(join(folder, 'bytes'))
    expect([...(await file.read(97, 3))]).toEqual([97, 98, 99])
    expect(await file.read(100, 0)).toHaveLength(0)
    await expect(file.read(98, 3)).rejects.toMatchObject({ code: 'weights/truncated' })
    await expect(file.read(-1, 1)).rejects.toMatchObject({ code: 'weights/truncated' })
    await file.close()
    await file.close()
  })

  it('a file that shrank since it was opened', async () => {
    const path = join(folder, 'shrinks')
    await writeFile(path, new Uint8Array(50))
    const file = await openFile(path)
    await truncate(path, 20)
    await expect(file.read(10, 30)).rejects.toMatchObject({
      code: 'weights/truncated',
      message: `${path}: the file ended at byte 20; it had 50 when opened`,
    })
    await file.close()
    await expect(file.read(0, 1)).rejects.toMatchObject({ code: 'weights/truncated' })
  })

  it('nothing there, or a folder', async () => {
    const missing = join(folder, 'nothing')
    await expect(openFile(missing)).rejects.toMatchObject({
      code: 'model/not-found',
      message: `cannot open ${missing}: there is no such file`,
    })
    await expect(openFile(join(folder, 'sub'))).rejects.toMatchObject({ code: 'model/not-found' })
  })
})

describe('nodeFolder', () => {
  it('files by relative path', async () => {
    const files = nodeFolder(folder)
    expect(await files.exists('bytes')).toBe(true)
    expect(await files.exists('sub')).toBe(false)
    expect(await files.exists('nothing')).toBe(false)
    expect(await files.list!('.')).toContain('bytes')
    expect(await files.list!('nothing')).toEqual([])
    await writeFile(join(folder, 'sub', 'ü.txt'), 'größe')
    expect(await files.text('sub/ü.txt')).toBe('größe')
    await expect(files.text('nothing')).rejects.toMatchObject({ code: 'model/not-found' })
  })
})

describe('blobBytes', () => {
  it('reads slices', async () => {
    const file = blobBytes(new Blob([await readFile(join(folder, 'bytes'))]), 'picked')
    expect(file.size).toBe(100)
    expect([...(await file.read(50, 2))]).toEqual([50, 51])
    await expect(file.read(99, 2)).rejects.toMatchObject({ code: 'weights/truncated' })
  })
})

describe('writeSafetensorsFile', () => {
  const tensors = [
    { name: 'b', dtype: 'F16', shape: [3], bytes: new Uint8Array([1, 2, 3, 4, 5, 6]) },
    { name: 'a', dtype: 'F32', shape: [1, 2], bytes: new Uint8Array(8).fill(9) },
  ] as const
  const lazy = tensors.map((tensor) => ({ ...tensor, bytes: async () => tensor.bytes }))

  it('writes what writeSafetensors makes, and replaces what was there', async () => {
    const path = join(folder, 'sub', 'w.safetensors')
    await writeFile(path, 'old')
    await writeSafetensorsFile(path, lazy, { format: 'pt' })
    expect(new Uint8Array(await readFile(path))).toEqual(writeSafetensors(tensors, { format: 'pt' }))
    const source = await openSafetensors(await openFile(path))
    expect(await source.read('b')).toEqual(tensors[0].bytes)
    await source.close()
  })

  it('a failing tensor leaves the folder as it was', async () => {
    const before = await readdir(folder)
    const path = join(folder, 'new.safetensors')
    const broken = { ...lazy[1]!, bytes: () => Promise.reject(new Error('no more')) }
    await expect(writeSafetensorsFile(path, [lazy[0]!, broken])).rejects.toThrow('no more')
    await expect(writeSafetensorsFile(path, [{ ...lazy[0]!, bytes: () => new Uint8Array(5) }])).rejects.toThrow(
      'given 5',
    )
    expect(await readdir(folder)).toEqual(before)
  })

  it('no such folder', async () => {
    const path = join(folder, 'none', 'w.safetensors')
    await expect(writeSafetensorsFile(path, lazy)).rejects.toMatchObject({ code: 'output/unwritable' })
    await expect(writeSafetensorsFile(join(folder, 'sub'), lazy)).rejects.toMatchObject({ code: 'output/unwritable' })
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([])
  })
})
