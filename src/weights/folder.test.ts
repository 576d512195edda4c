import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { goldenFolder } from '../../test/golden/read-golden.ts'
import { openComponent } from './folder.ts'
import type { ModelFiles } from './model-files.ts'
import { nodeFolder } from './node-files.ts'
import type { WeightSource } from './source.ts'

const tiny = `${goldenFolder}tiny/`
const stem = 'diffusion_pytorch_model'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'phosphene-'))
  await mkdir(join(folder, 'unet'))
})
afterEach(() => rm(folder, { recursive: true }))

async function contents(source: WeightSource): Promise<Map<string, string>> {
  const all = new Map<string, string>()
  for (const { name, dtype, shape } of source.tensors.values())
    all.set(name, `${dtype} ${shape} ${Buffer.from(await source.read(name)).toString('base64')}`)
  await source.close()
  return new Map([...all].sort())
}

async function shardedCopy(): Promise<{ index: string; json: { weight_map: Record<string, string> } }> {
  await cp(`${tiny}sd1_sharded_unet/unet`, join(folder, 'unet'), { recursive: true })
  const index = join(folder, 'unet', `${stem}.safetensors.index.json`)
  return { index, json: JSON.parse(await readFile(index, 'utf8')) }
}

describe('openComponent', () => {
  it('shards are the whole file, tensor for tensor', async () => {
    const shards = await openComponent(nodeFolder(`${tiny}sd1_sharded_unet`), 'unet')
    const name = shards.tensors.keys().next().value!
    expect(shards.locate(name)!.path).toMatch(/-0000\d-of-00003\.safetensors$/)
    const whole = await openComponent(nodeFolder(`${tiny}sd1`), 'unet')
    const want = await contents(whole)
    expect(want.size).toBe(324)
    expect(await contents(shards)).toEqual(want)
  })

  it('fp16 files are found where there are no plain ones; with both, plain unless asked', async () => {
    const dtypes = async (files: ModelFiles, variant?: 'fp16') => {
      const source = await openComponent(files, 'unet', { variant })
      await source.close()
      return new Set([...source.tensors.values()].map((tensor) => tensor.dtype))
    }
    expect(await dtypes(nodeFolder(`${tiny}sd1_fp16`))).toEqual(new Set(['F16']))
    await expect(dtypes(nodeFolder(`${tiny}sd1`), 'fp16')).rejects.toMatchObject({ code: 'model/not-found' })
    await cp(`${tiny}sd1/unet`, join(folder, 'unet'), { recursive: true })
    await cp(`${tiny}sd1_fp16/unet`, join(folder, 'unet'), { recursive: true })
    expect(await dtypes(nodeFolder(folder))).toEqual(new Set(['F32']))
    expect(await dtypes(nodeFolder(folder), 'fp16')).toEqual(new Set(['F16']))
  })

  it('a sharded variant', async () => {
    const { index } = await shardedCopy()
    await rename(index, join(folder, 'unet', `${stem}.safetensors.index.fp16.json`))
    const source = await openComponent(nodeFolder(folder), 'unet')
    expect(source.tensors.size).toBe(324)
    await source.close()
  })

  it("names are today's: VAE attention, text model prefix", async () => {
    const vae = await openComponent(nodeFolder(`${tiny}sd1`), 'vae')
    expect(vae.tensors.has('decoder.mid_block.attentions.0.to_out.0.weight')).toBe(true)
    await vae.close()
    const text = await openComponent(nodeFolder(`${tiny}sd2`), 'text_encoder')
    expect(text.tensors.has('text_model.embeddings.token_embedding.weight')).toBe(true)
    await text.close()
  })

  it('a folder of one component alone', async () => {
    const source = await openComponent(nodeFolder(`${tiny}controlnet_sd1`), 'controlnet', { folder: '' })
    expect(source.tensors.size).toBe(170)
    await source.close()
  })

  it('nothing there: says what was looked for', async () => {
    await expect(openComponent(nodeFolder(folder), 'unet')).rejects.toMatchObject({
      code: 'model/not-found',
      message:
        `${folder}/unet has no weights; looked for ${stem}.safetensors, ${stem}.safetensors.index.json, ` +
        'model.safetensors, model.safetensors.index.json, ' +
        `${stem}.fp16.safetensors, ${stem}.safetensors.index.fp16.json, ${stem}.fp16.safetensors.index.json, ` +
        'model.fp16.safetensors, model.safetensors.index.fp16.json, model.fp16.safetensors.index.json',
    })
  })

  it('only pickles there: says so, with and without a listing', async () => {
    await writeFile(join(folder, 'unet', `${stem}.bin`), 'x')
    const { list: _, ...unlisted } = nodeFolder(folder)
    for (const files of [nodeFolder(folder), unlisted])
      await expect(openComponent(files, 'unet')).rejects.toMatchObject({
        code: 'model/not-found',
        message: expect.stringContaining(`It has only ${stem}.bin, which are PyTorch pickles`),
        fix: expect.stringContaining('.safetensors'),
      })
  })
})

describe('a broken index', () => {
  const cases: readonly (readonly [string, (map: Record<string, string>) => unknown, string, string])[] = [
    ['no JSON', () => '{"weight_map":', 'model/config', 'not JSON'],
    ['no map', () => ({ metadata: {} }), 'model/config', 'weight_map'],
    ['a map of numbers', () => ({ weight_map: { a: 1 } }), 'model/config', 'weight_map.a'],
    ['a file elsewhere', () => ({ weight_map: { a: '../../x.safetensors' } }), 'model/config', '"../../x.safetensors"'],
    [
      'a shard that is missing',
      (map) => ({ weight_map: { ...map, a: 'b.safetensors' } }),
      'model/not-found',
      'b.safetensors',
    ],
    [
      'a tensor that is in no shard',
      (map) => ({ weight_map: { ...map, a: Object.values(map)[0] } }),
      'weights/missing-key',
      'has no tensor a',
    ],
  ]
  it.each(cases)('%s', async (_, change, code, message) => {
    const { index, json } = await shardedCopy()
    const changed = change(json.weight_map)
    await writeFile(index, typeof changed === 'string' ? changed : JSON.stringify(changed))
    await expect(openComponent(nodeFolder(folder), 'unet')).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    })
  })
})
