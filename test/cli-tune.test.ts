// `--tune`: what people are told, and where what was measured is kept.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openPipeline } from '../src/pipeline/open-node.ts'
import { copyModel, type ScratchFolder, scratchFolder } from './damaged-model.ts'
import { runCli as cli } from './run-cli.ts'

let scratch: ScratchFolder
let model: string
const { XDG_CACHE_HOME: before } = process.env
beforeEach(() => {
  scratch = scratchFolder()
  model = copyModel(scratch)
  process.env.XDG_CACHE_HOME = join(scratch.path, 'cache')
})
afterEach(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME
  else process.env.XDG_CACHE_HOME = before
  scratch.dispose()
})

const small = ['--width', '64', '--height', '64']
const swiftshader = ['--device', 'software', '--adapter', 'swiftshader']
const generate = (...more: string[]) =>
  cli(['generate', 'a cat', '--model', model, '--steps', '1', ...small, '-o', join(scratch.path, 'out.png'), ...more])
/** Files of the cache that are the engine's: ONNX Runtime has some of its own. */
const kept = () => {
  const folder = join(scratch.path, 'cache', 'phosphene', 'tuning')
  return existsSync(folder) ? readdirSync(folder) : []
}

it.each(['generate', 'bench picture', 'bench kernels'])('%s takes three words', async (command) => {
  const { code, err } = await cli([...command.split(' '), '--tune', 'sometimes'])
  expect(code).toBe(2)
  expect(err).toContain('--tune is "sometimes"\n  fix: Use one of: off, cached, full.')
})

it('the library takes them too', async () => {
  const opened = openPipeline(model, { device: 'cpu', tune: 'sometimes' as 'off' })
  await expect(opened).rejects.toMatchObject({ code: 'options/invalid', message: 'tune is "sometimes"' })
})

it('on the CPU there is nothing to tune: those who ask are told', async () => {
  const note = /note: --tune has no effect on the CPU/
  const asked = await generate('--device', 'cpu', '--tune', 'full')
  expect([asked.code, asked.err]).toEqual([0, expect.stringMatching(note)])
  expect((await generate('--device', 'cpu')).err).not.toMatch(note)
  expect(kept()).toEqual([])
})

it('measures when asked to on a software adapter, and uses what it measured', { timeout: 300_000 }, async () => {
  const kernels = (...more: string[]) =>
    cli([
      'bench',
      'kernels',
      '--model',
      model,
      '--only',
      'text_encoder',
      '--rounds',
      '1',
      ...small,
      ...swiftshader,
      ...more,
    ])
  const off = await kernels()
  expect([off.code, off.err]).toEqual([0, expect.not.stringContaining('tuning')])
  expect(kept()).toEqual([])
  const full = await kernels('--tune', 'full')
  expect([full.code, full.err]).toEqual([0, expect.stringMatching(/text_encoder: tuning kernels, 0 of \d+\n/)])
  expect(kept()).toEqual([expect.stringMatching(/^SwiftShader-driver-5\.0\.0-[0-9a-f]+\.json$/)])
  const cached = await kernels('--tune', 'cached')
  expect([cached.code, cached.err]).toEqual([0, expect.not.stringContaining('tuning')])
})

it('a picture’s progress tells of it, and it stops when it is asked to', { timeout: 300_000 }, async () => {
  const argv = ['generate', 'a cat', '--model', model, ...small, ...swiftshader, '--tune', 'full']
  const { code, err } = await cli([...argv, '-o', join(scratch.path, 'out.png')], (text, stop) => {
    if (text.startsWith('tuning kernels of unet: 0')) stop.abort()
  })
  expect(code, err).toBe(130)
  expect(err).toMatch(/tuning kernels of text_encoder: 0 of \d+\n(.*\n)*loaded text_encoder/)
  expect(err).not.toContain('loaded unet')
  expect(kept()).toHaveLength(1)
})
