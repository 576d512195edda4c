import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkWritable, outputPaths, writeAll } from './output-files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phosphene-output-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const bytes = Uint8Array.of(1, 2, 3)

test('one picture keeps its name, several are numbered by %d or before the extension', () => {
  expect(outputPaths('a.png', 1)).toEqual(['a.png'])
  expect(outputPaths('x/a.PNG', 2)).toEqual(['x/a-1.PNG', 'x/a-2.PNG'])
  expect(outputPaths('a%d.png', 2)).toEqual(['a1.png', 'a2.png'])
  expect(outputPaths('a%d.png', 1)).toEqual(['a1.png'])
})

test('checking leaves no trace, and keeps what is there', async () => {
  const path = join(folder, 'a.png')
  await checkWritable([path])
  expect(readdirSync(folder)).toEqual([])
  writeFileSync(path, 'old')
  await checkWritable([path])
  expect(readFileSync(path, 'utf8')).toBe('old')
})

test('two results of one name are refused', async () => {
  const work = checkWritable([join(folder, 'a.png'), join(folder, '.', 'a.png')])
  await expect(work).rejects.toMatchObject({ code: 'output/unwritable' })
})

test('writes all files, over old ones too', async () => {
  const paths = ['a.png', 'b.png'].map((name) => join(folder, name))
  writeFileSync(paths[0]!, 'old')
  await writeAll(
    paths.map((path) => ({ path, bytes })),
    () => {},
  )
  for (const path of paths) expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
  expect(readdirSync(folder).sort()).toEqual(['a.png', 'b.png'])
})

test('writes none when one of them fails or when it is stopped in between, and leaves nothing behind', async () => {
  const good = join(folder, 'a.png')
  const files = [
    { path: good, bytes },
    { path: join(folder, 'gone', 'b.png'), bytes },
  ]
  await expect(writeAll(files, () => {})).rejects.toMatchObject({ code: 'output/unwritable' })
  mkdirSync(join(folder, 'gone'))
  let calls = 0
  const stop = () => {
    if (++calls === 2) throw new Error('stopped')
  }
  await expect(writeAll(files, stop)).rejects.toThrow('stopped')
  expect(readdirSync(folder)).toEqual(['gone'])
  expect(readdirSync(join(folder, 'gone'))).toEqual([])
  expect(existsSync(good)).toBe(false)
})
