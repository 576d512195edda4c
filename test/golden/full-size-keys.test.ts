// The model code against SD 1.5's real state dicts: every key, every shape, and the products that they cost.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Graph } from '../../src/graph/graph.ts'
import {
  autoencoderKLDecoder,
  autoencoderKLEncoder,
  parseAutoencoderKLConfig,
} from '../../src/models/autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig } from '../../src/models/clip-text.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise, optimiseInParts } from '../../src/passes/passes.ts'
import { goldenFolder } from './read-golden.ts'

const json = (file: string) => JSON.parse(readFileSync(`${goldenFolder}fullsize/${file}`, 'utf8'))
const configs = json('fullsize.json')
const keys: Record<'text_encoder' | 'unet' | 'vae', Record<string, number[]>> = json('keys.json')

const text = clipText(parseClipTextConfig(configs.text_encoder, 'text_encoder'), {
  batch: 1,
  outputs: { hidden: lastHiddenState },
})
const unet = unet2DCondition(parseUNetConfig(configs.unet, 'unet'), { batch: 1, height: 64, width: 64 })
const vaeConfig = parseAutoencoderKLConfig(configs.vae, 'vae')
const decoder = autoencoderKLDecoder(vaeConfig, { batch: 1, height: 64, width: 64 })
const encoder = autoencoderKLEncoder(vaeConfig, { batch: 1, height: 512, width: 512 })

function shapes(...graphs: Graph[]): Record<string, readonly number[]> {
  return Object.fromEntries(graphs.flatMap((graph) => [...graph.params].map(([key, { shape }]) => [key, shape])))
}

/** Multiply-adds of products and convolutions. */
function macs(graph: Graph): number {
  return graph.nodes.reduce(
    (sum, { op, inputs, attrs, output }) => sum + op.cost(inputs, attrs as never, output).macs,
    0,
  )
}

describe('SD 1.5 at full size', () => {
  it('asks for exactly the keys of its files, in their shapes', () => {
    expect(shapes(text)).toEqual(keys.text_encoder)
    expect(shapes(unet)).toEqual(keys.unet)
    expect(shapes(decoder, encoder)).toEqual(keys.vae)
  })

  it('asks for the same after the passes', () => {
    for (const graph of [text, unet, decoder, encoder])
      expect(shapes(optimise(graph, { merge: false }))).toEqual(shapes(graph))
  })

  it('costs the products that were counted on paper, fused or not', () => {
    expect(macs(unet) / 1e9).toBeCloseTo(401.6, 1)
    expect(macs(decoder) / 1e9).toBeCloseTo(1257.3, 1)
    for (const graph of [text, unet, decoder, encoder]) expect(macs(optimise(graph))).toBe(macs(graph))
  })

  it('asks for each of them once where products are merged, alone or as a part', () => {
    for (const graph of [text, unet, decoder, encoder]) {
      const parts = [...optimise(graph).params.values()].flatMap(({ name, parts }) => parts ?? [name])
      expect(parts.toSorted()).toEqual([...graph.params.keys()].toSorted())
    }
    const { graph, prelude } = optimiseInParts(unet, ['encoder_hidden_states'])
    const products = (each: Graph | undefined) => each!.nodes.filter(({ op }) => op.name === 'matmul')
    expect(products(graph)).toHaveLength(99) // of 184: q, k and v are one, so are all 22 projections of the time
    expect(products(prelude).map(({ output }) => output.shape)).toEqual([[1, 77, 24960]])
    expect(macs(graph) + macs(prelude!)).toBe(macs(unet))
  })

  it('is fused until no pointwise node is left in the UNet, and every feed-forward is gated', () => {
    const { nodes } = optimise(unet, { merge: false })
    expect(nodes.filter(({ op }) => op.name === 'pointwise' || op.name === 'slice')).toEqual([])
    expect(nodes.filter(({ attrs }) => 'gate' in (attrs as object))).toHaveLength(16)
  })
})
