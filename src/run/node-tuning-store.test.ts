// Files of measured times: whole or not there, in a folder that is made for them.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ScratchFolder, scratchFolder } from '../../test/damaged-model.ts'
import { nodeTuningStore } from './node-tuning-store.ts'

let scratch: ScratchFolder
const { XDG_CACHE_HOME: before } = process.env
beforeEach(() => {
  scratch = scratchFolder()
})
afterEach(() => {
  scratch.dispose()
  if (before === undefined) delete process.env.XDG_CACHE_HOME
  else process.env.XDG_CACHE_HOME = before
})

it('reads what it wrote, and nothing where there is nothing', async () => {
  const folder = join(scratch.path, 'deep', 'down')
  const store = nodeTuningStore(folder)
  expect(await store.read('one')).toBeUndefined()
  await store.write('one', 'first')
  await store.write('one', 'second')
  expect(await store.read('one')).toBe('second')
  expect(readdirSync(folder)).toEqual(['one.json'])
})

it('leaves what was there, and no half of a file, where writing fails', async () => {
  const store = nodeTuningStore(scratch.path)
  mkdirSync(join(scratch.path, 'taken.json')) // a folder cannot be replaced by a file
  await expect(store.write('taken', 'text')).rejects.toThrow()
  expect(readdirSync(scratch.path)).toEqual(['taken.json'])
})

it('raises where no folder can be made', async () => {
  const file = join(scratch.path, 'file')
  writeFileSync(file, 'in the way')
  const store = nodeTuningStore(join(file, 'tuning'))
  await expect(store.write('one', 'text')).rejects.toThrow()
  expect(await store.read('one')).toBeUndefined()
  expect(readFileSync(file, 'utf8')).toBe('in the way')
})

it("lies in the user's cache folder unless said", () => {
  process.env.XDG_CACHE_HOME = scratch.path
  expect(nodeTuningStore().label).toBe(join(scratch.path, 'phosphene', 'tuning'))
})
