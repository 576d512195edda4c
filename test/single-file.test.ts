// Checkpoints in one file: every tensor of Stable Diffusion 1.5's and 2.1's full key lists arrives under the name and in the shape
// that the models ask for; kinds, configs and tokenizers; a picture like that of the folder; and what is refused.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openModel } from '../src/pipeline/model.ts'
import { nodeModel } from '../src/pipeline/node-model.ts'
import { openPipeline } from '../src/pipeline/open-node.ts'
import { singleFile } from '../src/pipeline/single-file.ts'
import { memoryBytes } from '../src/weights/byte-source.ts'
import { checkParams } from '../src/weights/check.ts'
import { openComponent } from '../src/weights/folder.ts'
import { vaeFile } from '../src/weights/ldm-names.ts'
import { openSafetensors } from '../src/weights/safetensors.ts'
import { goldenFolder } from './golden/read-golden.ts'
import { checkpoint, clipKeys, type LdmUNet, ldmUNet, ldmVae, openClipKeys, type Shapes } from './ldm-keys.ts'

/** The header of a .safetensors file: only names and shapes are looked at. */
function headerOnly(shapes: Shapes): Uint8Array {
  const header: Record<string, unknown> = {}
  let at = 0
  for (const [name, shape] of shapes) {
    const end = at + 2 * shape.reduce((a, b) => a * b, 1)
    header[name] = { dtype: 'F16', shape, data_offsets: [at, end] }
    at = end
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const bytes = new Uint8Array(8 + json.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true)
  bytes.set(json, 8)
  return bytes
}

/** The same as a file whose data is not there: as large as its header says. */
function hollow(name: string, shapes: Shapes) {
  const head = headerOnly(shapes)
  const data = [...shapes.values()].reduce((sum, shape) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0)
  return async () => ({ ...memoryBytes(name, head), size: head.length + data })
}

const merges = async () => readFileSync(new URL('../models/clip-tokenizer/merges.txt', import.meta.url), 'utf8')
const sd: LdmUNet = { inChannels: 4, width: 320, mult: [1, 2, 4, 4], context: 768, plainLevels: 1, linear: false }
const sd1 = (unet: Partial<LdmUNet> = {}) =>
  checkpoint({
    'model.diffusion_model.': ldmUNet({ ...sd, ...unet }),
    'first_stage_model.': ldmVae(),
    'cond_stage_model.transformer.': clipKeys(),
  })
const sd2 = () =>
  checkpoint({
    'model.diffusion_model.': ldmUNet({ ...sd, context: 1024, linear: true }),
    'first_stage_model.': ldmVae(),
    'cond_stage_model.model.': openClipKeys(),
  })
const fileOf = (shapes: Shapes) => singleFile('model.safetensors', hollow('model.safetensors', shapes), { merges })

describe('full key lists', () => {
  it.each([
    ['SD 1.5', sd1(), 'StableDiffusionPipeline', []],
    ['SD 1.5 inpainting', sd1({ inChannels: 9 }), 'StableDiffusionInpaintPipeline', []],
    // The layer that the model leaves out: 16 tensors.
    ['SD 2.1', sd2(), 'StableDiffusionPipeline', ['text_model.encoder.layers.23.']],
  ])('%s: each tensor has its place', async (_, shapes, className, unused) => {
    const files = fileOf(shapes)
    const { parts, tokenizers } = await openModel(files)
    expect(parts.className).toBe(className)
    expect(tokenizers[0]!.tokenIds('a photo of a cat')).toEqual([320, 1125, 539, 320, 2368])
    const graphs = {
      unet: [parts.denoiser.graph({ batch: 1, height: 64, width: 64, tokens: 77 })],
      vae: [
        parts.autoencoder.decoder({ batch: 1, height: 8, width: 8 }),
        parts.autoencoder.encoder({ batch: 1, height: 64, width: 64 }),
      ],
      text_encoder: [parts.textEncoders[0]!.graph({ batch: 1 })],
    } as const
    for (const component of ['unet', 'vae', 'text_encoder'] as const) {
      const source = await openComponent(files, component)
      const left = checkParams(
        graphs[component].flatMap((graph) => [...graph.params.values()]),
        source,
      )
      expect(left.filter((name) => !unused.some((start) => name.startsWith(start)))).toEqual([])
    }
  })

  it('reads a VAE of its own, with either naming and any prefix', async () => {
    const plain = vaeFile(await openSafetensors(await hollow('vae', ldmVae())()))
    const prefixed = new Map([...ldmVae()].map(([name, shape]) => [`first_stage_model.${name}`, shape]))
    const both = vaeFile(await openSafetensors(await hollow('vae', prefixed)()))
    const diffusers = new Map([...plain.tensors].map(([name, { shape }]) => [name, shape]))
    const same = vaeFile(await openSafetensors(await hollow('vae', diffusers)()))
    for (const each of [both, same])
      expect([...each.tensors].map(([name, { shape }]) => [name, shape])).toEqual([...diffusers])
  })
})

describe('what single files lack', () => {
  it('pads as each kind was trained', async () => {
    const pads = async (shapes: Shapes) => (await openModel(fileOf(shapes))).tokenizers[0]!.padId
    expect([await pads(sd1()), await pads(sd2())]).toEqual([49407, 0])
  })

  it('assumes velocity for SD 2.x, and 768 pixels', async () => {
    const { scheduler, parts } = await openModel(fileOf(sd2()))
    expect([scheduler.prediction_type, parts.denoiser.sampleSize]).toEqual(['v_prediction', [96, 96]])
  })

  it.each([
    ['a file that is no checkpoint', new Map([['lora_unet_down.weight', [4, 4]]]), 'lora_unet_down'],
    ['another width', sd1({ context: 640 }), 'text of width 640'],
    [
      'SDXL',
      new Map([...sd1(), ['conditioner.embedders.1.model.ln_final.weight', [1280]]]) as Shapes,
      'Stable Diffusion XL',
    ],
  ])('refuses %s by name', async (_, shapes, words) => {
    await expect(openModel(fileOf(shapes as Shapes))).rejects.toMatchObject({
      code: 'model/unsupported',
      message: expect.stringContaining(words),
    })
  })
})

describe('a picture', () => {
  const folder = mkdtempSync(join(tmpdir(), 'single-file-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const file = `${goldenFolder}tiny/sd1_single_file.fp16.safetensors`
  const options = { prompt: 'a cat', seed: 3, steps: 2, width: 64, height: 64 } as const

  const drawn = async (model: string, parts: { config?: string; vae?: string } = {}) => {
    const pipeline = await openPipeline(model, { device: 'cpu', ...parts })
    const { images } = await pipeline.generate(options)
    await pipeline.dispose()
    return images[0]!.pixels
  }

  it('is that of the same weights in a folder', async () => {
    const config = `${goldenFolder}tiny/sd1_fp16`
    expect(await drawn(file, { config })).toEqual(await drawn(config))
  })

  it('takes a VAE from a file of its own, beside a folder as beside a file', async () => {
    const config = `${goldenFolder}tiny/sd1_fp16`
    expect(await drawn(config, { vae: file })).toEqual(await drawn(config))
    const broken = join(folder, 'vae.safetensors')
    writeFileSync(broken, headerOnly(new Map([['decoder.nothing', [0]]])))
    await expect(drawn(file, { config, vae: broken })).rejects.toMatchObject({ code: 'weights/missing-key' })
  })

  it('says what is wrong with a config beside a folder', () => {
    expect(() => nodeModel(`${goldenFolder}tiny/sd1`, { config: 'x' })).toThrow(/folder with configs of its own/)
  })
})
