// The graphs that the model code builds: names, shapes and what is left out. Their numbers are the golden tests' business.
import { describe, expect, it } from 'vitest'
import { autoencoderKLDecoder, autoencoderKLEncoder, parseAutoencoderKLConfig } from './autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig, pool, pooledRows } from './clip-text.ts'
import { timeIdsInput, timestepInput, unet2DCondition } from './unet-2d-condition.ts'
import { parseUNetConfig } from './unet-config.ts'

const text = parseClipTextConfig(
  { hidden_size: 8, intermediate_size: 32, num_hidden_layers: 3, num_attention_heads: 2 },
  'f',
)

describe('clipText', () => {
  const layersOf = (skip: number, norm: boolean) => {
    const graph = clipText(text, { batch: 2, outputs: { hidden: { skip, norm } } })
    const layers = new Set([...graph.params.keys()].flatMap((key) => key.match(/layers\.(\d)/)?.[1] ?? []))
    return [layers.size, graph.params.has('text_model.final_layer_norm.weight')]
  }

  it('builds no more layers than its outputs need', () => {
    expect(layersOf(0, true)).toEqual([3, true])
    expect(layersOf(1, false)).toEqual([2, false])
    expect(layersOf(1, true)).toEqual([2, true])
    expect(layersOf(3, false)).toEqual([0, false])
  })

  it('refuses to skip more layers than there are', () => {
    expect(() => layersOf(4, true)).toThrow('hidden: skip is 4: the text encoder has 3 layers to skip')
  })

  it('projects after the final norm, without a bias', () => {
    const graph = clipText(text, { batch: 1, outputs: { text_embeds: { ...lastHiddenState, projection: true } } })
    expect(graph.params.get('text_projection.weight')?.shape).toEqual([512, 8])
    expect(graph.params.has('text_projection.bias')).toBe(false)
    expect(graph.outputs.get('text_embeds')?.shape).toEqual([1, 77, 512])
  })
})

describe('the pooled row', () => {
  const ids = Int32Array.of(10, 3, 11, 11, 10, 4, 5, 11)

  it('is at the first end token', () => {
    expect(pooledRows(ids, 4, { ...text, eos_token_id: 11 })).toEqual([2, 3])
  })

  it('is at the largest id where the config says 2, as old ones do', () => {
    expect(pooledRows(ids, 4, { ...text, eos_token_id: 2 })).toEqual([2, 3])
  })

  it('is the first where there is no end token', () => {
    expect(pooledRows(ids, 4, { ...text, eos_token_id: 99 })).toEqual([0, 0])
  })

  it('is taken from each batch element', () => {
    const states = Float32Array.from({ length: 2 * 4 * 3 }, (_, i) => i)
    expect([...pool(states, [2, 3], 4)]).toEqual([6, 7, 8, 21, 22, 23])
  })
})

const small = {
  block_out_channels: [8, 16],
  down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
  layers_per_block: 1,
  cross_attention_dim: 12,
  attention_head_dim: 2,
  norm_num_groups: 4,
}

describe('unet2DCondition', () => {
  it('gives back the latents’ size, odd or even', () => {
    const config = parseUNetConfig({ ...small, in_channels: 9 }, 'f')
    for (const [height, width] of [
      [8, 8],
      [9, 7],
      [5, 6],
    ] as const) {
      const graph = unet2DCondition(config, { batch: 2, height, width })
      expect(graph.inputs.get('sample')!.shape).toEqual([2, height, width, 9])
      expect(graph.outputs.get('out')!.shape).toEqual([2, height, width, 4])
    }
  })

  it('takes one timestep for the whole batch or one for each', () => {
    const config = parseUNetConfig(small, 'f')
    const shapeOf = (timesteps?: number) => {
      const graph = unet2DCondition(config, { batch: 3, height: 4, width: 4, ...(timesteps ? { timesteps } : {}) })
      return graph.inputs.get('timestep')!.shape
    }
    expect(shapeOf()).toEqual([1, 8])
    expect(shapeOf(3)).toEqual([3, 8])
    expect(timestepInput(config, [981, 1]).length).toBe(16)
  })

  it('shows the modules that are asked for, under their paths', () => {
    const taps = ['time_embedding', 'conv_in', 'down_blocks.0.attentions.0.transformer_blocks.0.ff', 'mid_block']
    const graph = unet2DCondition(parseUNetConfig(small, 'f'), { batch: 1, height: 8, width: 8, taps })
    expect(new Set(graph.outputs.keys())).toEqual(new Set([...taps, 'out']))
    expect(graph.outputs.get('mid_block')!.shape).toEqual([1, 4, 4, 16])
  })

  it('has convolutions or linear layers around its transformers', () => {
    const shapeOf = (use_linear_projection: boolean) =>
      unet2DCondition(parseUNetConfig({ ...small, use_linear_projection }, 'f'), {
        batch: 1,
        height: 8,
        width: 8,
      }).params.get('down_blocks.0.attentions.0.proj_in.weight')!.shape
    expect(shapeOf(false)).toEqual([8, 8, 1, 1])
    expect(shapeOf(true)).toEqual([8, 8])
  })

  // The references' marks hardly tell these apart: variances there are near 1.
  it('has 1e-6 in the norms at the entry of its transformers, 1e-5 in their layers, norm_eps elsewhere', () => {
    const graph = unet2DCondition(parseUNetConfig({ ...small, norm_eps: 1e-4 }, 'f'), { batch: 1, height: 8, width: 8 })
    const epsilons = new Map<string, Set<number>>()
    for (const { op, scope, attrs } of graph.nodes) {
      if (op.name !== 'groupNorm' && op.name !== 'layerNorm') continue
      const kind = op.name === 'layerNorm' ? 'layer' : /attentions\.\d+\.norm$/.test(scope) ? 'entry' : 'other'
      const known = epsilons.get(kind) ?? new Set()
      epsilons.set(kind, known.add((attrs as { epsilon: number }).epsilon))
    }
    expect(Object.fromEntries(epsilons)).toEqual({
      other: new Set([1e-4]),
      entry: new Set([1e-6]),
      layer: new Set([1e-5]),
    })
  })

  it('runs without a middle block where the config says null', () => {
    const graph = unet2DCondition(parseUNetConfig({ ...small, mid_block_type: null }, 'f'), {
      batch: 1,
      height: 8,
      width: 8,
    })
    expect([...graph.params.keys()].filter((key) => key.startsWith('mid_block'))).toEqual([])
  })

  it('takes pooled text and size conditions for SDXL', () => {
    const added = {
      addition_embed_type: 'text_time',
      addition_time_embed_dim: 8,
      projection_class_embeddings_input_dim: 88,
    }
    const config = parseUNetConfig({ ...small, ...added }, 'f')
    const graph = unet2DCondition(config, { batch: 2, height: 8, width: 8 })
    expect(graph.inputs.get('text_embeds')!.shape).toEqual([2, 40])
    expect(graph.inputs.get('time_ids')!.shape).toEqual([2, 48])
    expect(timeIdsInput(config, new Array(12).fill(64)).length).toBe(96)
  })
})

describe('autoencoderKL', () => {
  const levels = {
    block_out_channels: [8, 8, 16],
    down_block_types: new Array(3).fill('DownEncoderBlock2D'),
    up_block_types: new Array(3).fill('UpDecoderBlock2D'),
    norm_num_groups: 4,
  }

  it('scales by its number of levels', () => {
    const graph = autoencoderKLDecoder(parseAutoencoderKLConfig(levels, 'f'), { batch: 1, height: 9, width: 5 })
    expect(graph.outputs.get('sample')!.shape).toEqual([1, 36, 20, 3])
  })

  it('halves odd sizes as padding right and bottom does', () => {
    const graph = autoencoderKLEncoder(parseAutoencoderKLConfig(levels, 'f'), { batch: 2, height: 43, width: 30 })
    expect(graph.outputs.get('mean')!.shape).toEqual([2, 10, 7, 4])
    expect(graph.outputs.get('logvar')!.shape).toEqual([2, 10, 7, 4])
  })

  it('leaves out the 1×1 convolutions where the config says so', () => {
    const config = parseAutoencoderKLConfig({ ...levels, use_quant_conv: false, use_post_quant_conv: false }, 'f')
    const options = { batch: 1, height: 8, width: 8 }
    const keys = [autoencoderKLDecoder(config, options), autoencoderKLEncoder(config, options)].flatMap((graph) => [
      ...graph.params.keys(),
    ])
    expect(keys.filter((key) => key.includes('quant_conv'))).toEqual([])
  })
})
