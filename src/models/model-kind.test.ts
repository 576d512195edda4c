import { describe, expect, it } from 'vitest'
import { latentDiffusion, type ModelConfigs } from './model-kind.ts'

const parts = {
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
  scheduler: ['diffusers', 'PNDMScheduler'],
  safety_checker: [null, null],
}

function folder(index: object, configs: Readonly<Record<string, object>> = {}): ModelConfigs {
  return {
    index,
    file: 'model_index.json',
    config: async (name) => ({ json: configs[name] ?? {}, file: `${name}/config.json` }),
  }
}

describe('latentDiffusion', () => {
  it('makes the parts of a Stable Diffusion model', async () => {
    const model = await latentDiffusion(
      folder({ _class_name: 'StableDiffusionPipeline', ...parts }, { unet: { sample_size: 64, in_channels: 9 } }),
    )
    expect(model.textEncoders.map((each) => [each.folder, each.tokenizer, each.tokens])).toEqual([
      ['text_encoder', 'tokenizer', 77],
    ])
    expect([...model.textEncoders[0]!.graph({ batch: 1 }).outputs.keys()]).toEqual(['hidden'])
    const { latentChannels, inChannels, sampleSize } = model.denoiser
    expect({ latentChannels, inChannels, sampleSize }).toEqual({
      latentChannels: 4,
      inChannels: 9,
      sampleSize: [64, 64],
    })
    expect(model.autoencoder.scalingFactor).toBe(0.18215)
    expect(model.autoencoder.pixelsPerLatent).toBe(1)
  })

  it('skips text layers as diffusers counts them: the final norm stays', async () => {
    const model = await latentDiffusion(folder({ _class_name: 'StableDiffusionPipeline', ...parts }))
    const keys = [...model.textEncoders[0]!.graph({ batch: 1, clipSkip: 2 }).params.keys()]
    expect(keys.some((key) => key.includes('layers.9.'))).toBe(true)
    expect(keys.some((key) => key.includes('layers.10.'))).toBe(false)
    expect(keys).toContain('text_model.final_layer_norm.weight')
  })

  it('takes two text encoders for XL, the second with its projection', async () => {
    const more = { text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'] }
    const model = await latentDiffusion(folder({ _class_name: 'StableDiffusionXLPipeline', ...parts, ...more }))
    const outputs = model.textEncoders.map((each) => [...each.graph({ batch: 1 }).outputs.keys()])
    expect(outputs).toEqual([['hidden'], ['hidden', 'pooled']])
    expect(model.textEncoders[1]!.tokenizer).toBe('tokenizer_2')
  })

  it.each<[string, object, string]>([
    [
      'a family that is not built',
      { _class_name: 'FluxPipeline' },
      'model_index.json: _class_name is "FluxPipeline"; supported: ("StableDiffusionPipeline" | ',
    ],
    [
      'a component that is not built',
      { _class_name: 'StableDiffusionPipeline', ...parts, vae: ['diffusers', 'AsymmetricAutoencoderKL'] },
      'model_index.json: vae is AsymmetricAutoencoderKL; supported: AutoencoderKL',
    ],
    [
      'a component that is missing',
      { _class_name: 'StableDiffusionPipeline', ...parts, unet: undefined },
      'model_index.json: unet is missing: ',
    ],
  ])('refuses %s', async (_, index, message) => {
    await expect(latentDiffusion(folder(index))).rejects.toThrow(message)
  })
})
