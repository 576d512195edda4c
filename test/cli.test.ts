// `phosphene generate`: what it prints, writes and returns, for good input, bad input and Ctrl-C.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseInfotext } from '../src/image/infotext.ts'
import { torchCpuNoise } from '../src/tensor/noise.ts'
import { writeSafetensors } from '../src/weights/safetensors.ts'
import {
  copyModel,
  dropTensors,
  editJson,
  editSafetensors,
  type OpenedSafetensors,
  type ScratchFolder,
  scratchFolder,
} from './damaged-model.ts'
import { readGolden } from './golden/read-golden.ts'
import { readPng } from './png-read.ts'
import { runCli as cli } from './run-cli.ts'

let scratch: ScratchFolder
let model: string
let output: string

beforeEach(() => {
  scratch = scratchFolder()
  model = copyModel(scratch)
  output = join(scratch.path, 'out.png')
})
afterEach(() => scratch.dispose())

/** A quick picture of the small model on the CPU. */
const quick = (...more: string[]) => [
  'generate',
  'a cat',
  ...['--model', model, '--device', 'cpu', '--steps', '2', '--width', '64', '--height', '64', '--output', output],
  ...more,
]

const files = () => readdirSync(scratch.path).filter((name) => name !== 'model')

describe('generate', () => {
  it('writes the picture, its settings and its latents, and tells all of it as JSON', async () => {
    const latents = join(scratch.path, 'final.safetensors')
    const more = ['--seed', '5', '--negative', 'blurry: x', '--sampler', 'DPM++ 2M Karras', '--clip-skip', '1']
    const { code, out, err } = await cli(quick(...more, '--save-latents', latents, '--json'))
    expect(code, err).toBe(0)
    expect(out.split('\n')).toHaveLength(2)
    const told = JSON.parse(out)
    expect(told).toMatchObject({
      files: [output],
      seed: 5,
      model,
      sampler: 'dpmpp_2m_karras',
      device: 'cpu',
      dtype: 'f32',
      steps: 2,
      width: 64,
      height: 64,
    })
    expect(told.adapter).toContain('ONNX Runtime')
    expect(told.milliseconds.steps).toHaveLength(2)
    for (const key of ['encode', 'decode', 'write', 'total']) expect(told.milliseconds[key], key).toBeGreaterThan(0)
    expect(told.weightBytes).toBeGreaterThan(100_000)
    expect(told.arenaBytes).toBe(0)
    expect(told.peakHostBytes).toBeGreaterThan(10_000_000)

    const png = readPng(readFileSync(output))
    expect([png.width, png.height]).toEqual([64, 64])
    const { prompt, negativePrompt, fields } = parseInfotext(png.texts.get('parameters')!.text)
    expect([prompt, negativePrompt]).toEqual(['a cat', 'blurry: x'])
    expect(fields).toMatchObject({
      Steps: '2',
      Sampler: 'DPM++ 2M Karras',
      'CFG scale': '7.5',
      Seed: '5',
      Size: '64x64',
      'Clip skip': '2', // A1111 counts from one
      RNG: 'CPU',
    })
    expect(readGolden(latents).get('latents')).toMatchObject({ dtype: 'F32', shape: [1, 4, 8, 8] })
    expect(err).toMatch(/step 2\/2/)
    expect(files().sort()).toEqual(['final.safetensors', 'out.png'])
  })

  it('starts from given latents as from the seed that drew them', async () => {
    const latents = join(scratch.path, 'noise.safetensors')
    const bytes = new Uint8Array(torchCpuNoise(0).normal([1, 4, 8, 8]).buffer)
    writeFileSync(latents, writeSafetensors([{ name: 'latents', dtype: 'F32', shape: [1, 4, 8, 8], bytes }]))
    expect((await cli(quick('--seed', '0'))).code).toBe(0)
    const fromSeed = readPng(readFileSync(output)).pixels
    expect((await cli(quick('--seed', '1', '--init-latents', latents))).code).toBe(0)
    const difference = readPng(readFileSync(output)).pixels.map((value, i) => Math.abs(value - fromSeed[i]!))
    expect(Math.max(...difference)).toBeLessThanOrEqual(1)
  })

  it('numbers several pictures, prints the files and a random seed', async () => {
    const { code, out, err } = await cli(quick('--count', '2'))
    expect(code, err).toBe(0)
    const paths = [1, 2].map((i) => join(scratch.path, `out-${i}.png`))
    expect(out.trim().split('\n')).toEqual(paths)
    expect(err).toMatch(/seed \d+/)
    expect(readFileSync(paths[0]!)).not.toEqual(readFileSync(paths[1]!))
    const fields = parseInfotext(readPng(readFileSync(paths[1]!)).texts.get('parameters')!.text).fields
    expect(fields).toMatchObject({ 'Batch size': '2', 'Batch pos': '1' })
  })

  it('warns of tensors that the model does not know, and of words that were cut off', async () => {
    editSafetensors(join(model, 'unet/diffusion_pytorch_model.safetensors'), stray)
    const { code, err } = await cli(quick('--negative', 'cat '.repeat(90)))
    expect(code, err).toBe(0)
    expect(err).toMatch(/warning: .*unet.* stray/)
    expect(err).toMatch(/warning: the last \d+ tokens of .* cut off/)
  })

  it('stops within a step when asked, and leaves nothing behind', async () => {
    const { code, err } = await cli(quick('--steps', '50'), (text, stop) => {
      if (text.startsWith('step 3/')) stop.abort()
    })
    expect(code).toBe(130)
    expect(err).not.toContain('step 5/')
    expect(files()).toEqual([])
  })

  it('says which step broke when the latents are not finite', async () => {
    editSafetensors(join(model, 'unet/diffusion_pytorch_model.safetensors'), ({ header, bytes }) => {
      const [start] = header['conv_out.bias']!.data_offsets
      new DataView(bytes.buffer).setFloat32(start, Number.NaN, true)
    })
    const { code, err } = await cli(quick())
    expect(code).toBe(1)
    expect(err).toMatch(/after step 1 of \d+ .*\n {2}fix: .*\n {2}code: latents\/not-finite/)
    expect(files()).toEqual([])
  })
})

/** An empty tensor under a name that the model does not know. */
function stray({ header, bytes }: OpenedSafetensors): void {
  header.stray = { dtype: 'F32', shape: [0], data_offsets: [bytes.length, bytes.length] }
}

type Damage = () => readonly string[]
const unet = () => join(model, 'unet/diffusion_pytorch_model.safetensors')

/** The quick command on a model that something was done to. */
const after =
  (damage: () => void): Damage =>
  () => {
    damage()
    return quick()
  }

const badInput: readonly (readonly [name: string, code: string, message: RegExp, damage: Damage])[] = [
  ['a folder that is not there', 'model/not-found', /nowhere/, () => quick('--model', join(scratch.path, 'nowhere'))],
  ['a missing weight file', 'model/not-found', /unet has no weights/, after(() => rmSync(unet()))],
  ['a truncated file', 'weights/truncated', /the file has 5000/, after(() => truncateSync(unet(), 5000))],
  [
    'a header that lies about a place',
    'weights/header',
    /conv_in\.weight/,
    after(() =>
      editSafetensors(unet(), ({ header }) => {
        header['conv_in.weight']!.data_offsets[0] += 4
      }),
    ),
  ],
  [
    'a wrong shape',
    'weights/shape',
    /conv_in\.bias is \[4,4\] in the file, the model wants \[16\]/,
    after(() =>
      editSafetensors(unet(), ({ header }) => {
        header['conv_in.bias']!.shape = [4, 4]
      }),
    ),
  ],
  [
    'a wrong dtype',
    'weights/dtype',
    /conv_in\.bias is I32/,
    after(() =>
      editSafetensors(unet(), ({ header }) => {
        header['conv_in.bias']!.dtype = 'I32'
      }),
    ),
  ],
  [
    'missing keys',
    'weights/missing-key',
    /lacks 2 of \d+ tensors: conv_in\.bias, conv_out\.bias/,
    after(() => dropTensors(unet(), ['conv_in.bias', 'conv_out.bias'])),
  ],
  [
    'no tokenizer',
    'tokenizer/missing',
    /tokenizer/,
    after(() => rmSync(join(model, 'tokenizer'), { recursive: true })),
  ],
  [
    'broken JSON in a config',
    'model/config',
    /unet\/config\.json is not JSON/,
    after(() => writeFileSync(join(model, 'unet/config.json'), '{"a": ')),
  ],
  [
    "broken JSON in the scheduler's config",
    'model/config',
    /scheduler_config\.json is not JSON/,
    after(() => writeFileSync(join(model, 'scheduler/scheduler_config.json'), 'no')),
  ],
  [
    'broken defaults',
    'model/config',
    /phosphene\.json/,
    after(() => writeFileSync(join(model, 'phosphene.json'), '{"steps": "many"}')),
  ],
  [
    'a config value that no model has',
    'model/config',
    /block_out_channels/,
    after(() =>
      editJson(join(model, 'unet/config.json'), (json) => {
        json.block_out_channels = [16, 16, 31]
      }),
    ),
  ],
  [
    'a model of another family',
    'model/unsupported',
    /FluxPipeline/,
    after(() =>
      editJson(join(model, 'model_index.json'), (json) => {
        json._class_name = 'FluxPipeline'
      }),
    ),
  ],
  [
    'a width that is no multiple of the factor',
    'options/size',
    /width is 60.*\n.*Use 56 or 64/s,
    () => quick('--width', '60'),
  ],
  [
    'a size that does not fit',
    'options/size',
    /131072×131072 does not fit.*\n.*Draw at most \d+×\d+/s,
    () => quick('--width', '131072', '--height', '131072'),
  ],
  ['no steps', 'options/invalid', /--steps is "0"/, () => quick('--steps', '0')],
  ['an unknown sampler', 'sampler/unknown', /'magic'.*\n.*dpmpp_2m_karras/s, () => quick('--sampler', 'magic')],
  ['guidance that is no number', 'options/invalid', /--cfg is "NaN"/, () => quick('--cfg', 'NaN')],
  ['negative guidance', 'options/invalid', /guidance is -1/, () => quick('--cfg', '-1')],
  ['a seed that is a fruit', 'options/invalid', /--seed is "banana"/, () => quick('--seed', 'banana')],
  ['a negative count', 'options/invalid', /--count is "-2"/, () => quick('--count', '-2')],
  ['too much clip skip', 'options/invalid', /clip skip is 99/, () => quick('--clip-skip', '99')],
  ['eta for a sampler without', 'sampler/options', /no eta/, () => quick('--sampler', 'euler', '--eta', '1')],
  ['an unknown device', 'options/invalid', /--device is "tpu"/, () => quick('--device', 'tpu')],
  ['an adapter that is not there', 'device/none', /"nothing"/, () => quick('--device', 'gpu', '--adapter', 'nothing')],
  ['an unknown option', 'options/invalid', /--stepz/, () => quick('--stepz', '3')],
  ['an unknown attention', 'options/invalid', /--attention is "sideways"/, () => quick('--attention', 'sideways')],
  ["kernels that the CPU's executor has not", 'options/invalid', /no Winograd/, () => quick('--no-winograd')],
  ['an unknown command', 'options/invalid', /paint/, () => ['paint']],
  [
    'an output in a folder that is not there',
    'output/unwritable',
    /does not exist/,
    () => quick('--output', join(scratch.path, 'no', 'out.png')),
  ],
  [
    'an output that is a folder',
    'output/unwritable',
    /not a file/,
    () => {
      mkdirSync(join(model, 'x.png'))
      return quick('--output', join(model, 'x.png'))
    },
  ],
  ['an output that is no PNG', 'output/unwritable', /\.png/, () => quick('--output', join(scratch.path, 'out.jpg'))],
  [
    'initial latents of another shape',
    'latents/file',
    /\[1,4,4,4\].*\[1,4,8,8\]/,
    () => {
      const file = join(model, 'noise.safetensors')
      const header = JSON.stringify({ latents: { dtype: 'F32', shape: [1, 4, 4, 4], data_offsets: [0, 256] } })
      const size = Buffer.alloc(8)
      size.writeBigUInt64LE(BigInt(header.length))
      writeFileSync(file, Buffer.concat([size, Buffer.from(header), Buffer.alloc(256)]))
      return quick('--init-latents', file)
    },
  ],
  ['latents that are not there', 'model/not-found', /no\.safetensors/, () => quick('--init-latents', 'no.safetensors')],
]

describe('bad input', () => {
  it.each(badInput)('%s: %s', async (_, code, message, damage) => {
    const argv = damage()
    const outcome = await cli(argv)
    expect(outcome.err).toMatch(message)
    expect(outcome.err).toMatch(new RegExp(`error: .+\n {2}fix: .+\n {2}code: ${code}\n$`, 's'))
    expect([outcome.code, outcome.out]).toEqual([2, ''])
    expect(files()).toEqual([])
  })

  it('is one JSON object on stdout with --json', async () => {
    const { code, out } = await cli(quick('--sampler', 'magic', '--json'))
    expect(code).toBe(2)
    const { error } = JSON.parse(out)
    expect(Object.keys(error).sort()).toEqual(['code', 'fix', 'message'])
    expect(error.code).toBe('sampler/unknown')
  })
})

describe('the program', () => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const main = join(root, 'dist/cli/main.js')

  beforeAll(() => {
    const built = spawnSync(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'],
      {
        cwd: root,
        encoding: 'utf8',
      },
    )
    expect(built.stdout + built.stderr).toBe('')
  }, 300_000)

  it('exits with 2 for bad input and prints the error on stderr', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'generate', 'x', '--seed', 'banana'], {
      encoding: 'utf8',
    })
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain('code: options/invalid')
  })

  it('exits with 130 on Ctrl-C, leaving no file', async () => {
    const argv = quick('--steps', '500')
    const child = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
    let err = ''
    let stopped = false
    child.stderr.on('data', (chunk) => {
      err += chunk
      if (stopped || !/step 2\//.test(err)) return
      stopped = true // once: a second Ctrl-C does not wait for anything
      child.kill('SIGINT')
    })
    const status = await new Promise((resolve) => child.on('close', resolve))
    expect(status, err).toBe(130)
    expect(existsSync(output)).toBe(false)
    expect(files()).toEqual([])
  })
})
