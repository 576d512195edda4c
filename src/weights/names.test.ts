import { describe, expect, it } from 'vitest'
import { goldenFolder } from '../../test/golden/read-golden.ts'
import { memoryBytes } from './byte-source.ts'
import { clipTextNames, vaeNames } from './names.ts'
import { openFile } from './node-files.ts'
import { openSafetensors, type TensorEntry, writeSafetensors } from './safetensors.ts'
import { renamed, type WeightSource } from './source.ts'

function sourceOf(tensors: Readonly<Record<string, readonly number[]>>): Promise<WeightSource> {
  const entries = Object.entries(tensors).map(([name, shape], i): TensorEntry => {
    const length = shape.reduce((a, b) => a * b, 1)
    return { name, dtype: 'U8', shape, bytes: new Uint8Array(length).fill(i + 1) }
  })
  return openSafetensors({ ...memoryBytes('x', writeSafetensors(entries)), path: '/x' })
}

const shapes = (source: WeightSource) =>
  Object.fromEntries([...source.tensors.values()].map(({ name, shape }) => [name, shape]))

describe('renamed', () => {
  it('renames, drops and reshapes; bytes, places and closing are those of the source below', async () => {
    const below = await sourceOf({ a: [2, 1], b: [3], c: [1] })
    let closed = 0
    const view = renamed({ ...below, close: async () => void closed++ }, ({ name }) =>
      name === 'a' ? { name: 'A', shape: [2] } : name === 'b' ? { name: 'b' } : undefined,
    )
    expect(shapes(view)).toEqual({ A: [2], b: [3] })
    expect(view.tensors.get('A')).toEqual({ ...below.tensors.get('a'), name: 'A', shape: [2] })
    expect(await view.read('A')).toEqual(await below.read('a'))
    expect(view.locate('A')).toEqual(below.locate('a'))
    expect(view.locate('a')).toBeUndefined()
    await expect(view.read('a')).rejects.toMatchObject({ code: 'weights/missing-key' })
    await expect(view.read('c')).rejects.toMatchObject({ code: 'weights/missing-key' })
    await view.close()
    expect(closed).toBe(1)
  })

  it('views stack', async () => {
    const view = renamed(
      renamed(await sourceOf({ a: [2] }), ({ name }) => ({ name: `${name}.b` })),
      ({ name }) => ({
        name: `${name}.c`,
      }),
    )
    expect([...(await view.read('a.b.c'))]).toEqual([1, 1])
  })

  it('two tensors cannot share a name', async () => {
    const source = await sourceOf({ 'x.attentions.0.query.weight': [1, 1], 'x.attentions.0.to_q.weight': [1, 1] })
    expect(() => vaeNames(source)).toThrow('are two names for the same tensor x.attentions.0.to_q.weight')
  })
})

describe('vaeNames', () => {
  it('old attention names, as linear layers or as 1×1 convolutions; all else untouched', async () => {
    const at = 'decoder.mid_block.attentions.0'
    const source = await sourceOf({
      [`${at}.query.weight`]: [4, 4],
      [`${at}.query.bias`]: [4],
      [`${at}.key.weight`]: [4, 4, 1, 1],
      [`${at}.value.weight`]: [4, 4],
      [`${at}.proj_attn.weight`]: [4, 4, 1, 1],
      [`${at}.group_norm.weight`]: [4],
      'encoder.conv_in.weight': [4, 3, 1, 1],
    })
    expect(shapes(vaeNames(source))).toEqual({
      [`${at}.to_q.weight`]: [4, 4],
      [`${at}.to_q.bias`]: [4],
      [`${at}.to_k.weight`]: [4, 4],
      [`${at}.to_v.weight`]: [4, 4],
      [`${at}.to_out.0.weight`]: [4, 4],
      [`${at}.group_norm.weight`]: [4],
      'encoder.conv_in.weight': [4, 3, 1, 1],
    })
  })

  it("SD 1.5's own VAE file has, after that, the keys of the newer one", async () => {
    const old = await openSafetensors(await openFile(`${goldenFolder}tiny/sd1/vae/diffusion_pytorch_model.safetensors`))
    const today = await openSafetensors(
      await openFile(`${goldenFolder}tiny/sd1_fp16/vae/diffusion_pytorch_model.fp16.safetensors`),
    )
    expect(shapes(old)).not.toEqual(shapes(today))
    expect(shapes(vaeNames(old))).toEqual(shapes(today))
    expect(shapes(vaeNames(today))).toEqual(shapes(today))
    await Promise.all([old.close(), today.close()])
  })
})

describe('clipTextNames', () => {
  it('adds the missing prefix, but not to the projection', async () => {
    const source = await sourceOf({ 'embeddings.token_embedding.weight': [2, 2], 'text_projection.weight': [2, 2] })
    expect(Object.keys(shapes(clipTextNames(source))).sort()).toEqual([
      'text_model.embeddings.token_embedding.weight',
      'text_projection.weight',
    ])
  })

  it('leaves a present prefix alone', async () => {
    const source = await sourceOf({ 'text_model.final_layer_norm.weight': [2] })
    expect(clipTextNames(source)).toBe(source)
  })
})
