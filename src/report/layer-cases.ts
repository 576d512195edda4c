// Layers with Stable Diffusion 1.5's channel counts, each a graph of its own: what `phosphene bench layers` holds against a peer.
import { Graph, type Scope, type Value } from '../graph/graph.ts'
import { upsample } from '../models/blocks/resnet.ts'
import { attention } from '../ops/attention.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { layerNorm } from '../ops/layer-norm.ts'
import { linear } from '../ops/matmul.ts'
import { add, gelu, mul, quickGelu, silu } from '../ops/pointwise.ts'
import { elementCount } from '../ops/shapes.ts'
import { slice } from '../ops/slice.ts'

export interface LayerCase {
  readonly name: string
  /** Pixels a side where the picture has 512²; undefined where the picture's size does not matter. */
  readonly side: number | undefined
  /** The layer over `side`² pixels, with inputs and the output `out`. */
  graph(side: number): Graph
}

type Layer = (g: Scope, side: number) => Value

function layer(name: string, side: number | undefined, build: Layer): LayerCase {
  return {
    name,
    side,
    graph(pixels) {
      const graph = new Graph(name)
      graph.output('out', build(graph.scope('layer'), pixels))
      return graph
    },
  }
}

const image = (g: Scope, side: number, channels: number, name = 'x') => g.graph.input(name, [1, side, side, channels])
const rows = (g: Scope, count: number, channels: number, name = 'x') => g.graph.input(name, [1, count, channels])

const threeByThree = { kernel: 3, padding: 1 } as const
/** Of the UNet's resnets and of the VAE. */
const resnetNorm = { groups: 32, epsilon: 1e-5 } as const

function convolution(side: number, from: number, to: number): LayerCase {
  return layer(`conv 3×3 ${from}→${to}`, side, (g, s) => conv2d(g, image(g, s, from), to, threeByThree))
}

function halving(side: number, channels: number): LayerCase {
  return layer(`conv 3×3 stride 2 ${channels}`, side, (g, s) =>
    conv2d(g, image(g, s, channels), channels, { ...threeByThree, stride: 2 }),
  )
}

function oneByOne(side: number, from: number, to: number): LayerCase {
  return layer(`conv 1×1 ${from}→${to}`, side, (g, s) => conv2d(g, image(g, s, from), to, { kernel: 1 }))
}

/** Nearest neighbours, then a convolution. */
function doubling(side: number, channels: number): LayerCase {
  return layer(`upsample + conv 3×3 ${channels}`, side, (g, s) => upsample(g, image(g, s, channels), 2 * s, 2 * s))
}

function normedConvolution(side: number, from: number, to: number): LayerCase {
  return layer(`GroupNorm + SiLU + conv 3×3 ${from}→${to}`, side, (g, s) => {
    const h = silu(groupNorm(g.scope('norm'), image(g, s, from), resnetNorm))
    return conv2d(g.scope('conv'), h, to, threeByThree)
  })
}

/** A resnet's second half: norm, convolution, and the shortcut added. */
function residualConvolution(side: number, channels: number): LayerCase {
  return layer(`GroupNorm + SiLU + conv 3×3 + residual ${channels}`, side, (g, s) => {
    const h = silu(groupNorm(g.scope('norm'), image(g, s, channels), resnetNorm))
    return add(image(g, s, channels, 'shortcut'), conv2d(g.scope('conv'), h, channels, threeByThree))
  })
}

/** Queries, keys and values of self-attention, side by side. */
function projections(side: number, channels: number): LayerCase {
  return layer(`QKV ${channels}→3·${channels}`, side, (g, s) =>
    linear(g, rows(g, s * s, channels), 3 * channels, { bias: false }),
  )
}

/** LayerNorm, then the queries of cross-attention. */
function normedQueries(side: number, channels: number): LayerCase {
  return layer(`LayerNorm + queries ${channels}`, side, (g, s) => {
    const normed = layerNorm(g.scope('norm'), rows(g, s * s, channels), { epsilon: 1e-5 })
    return linear(g.scope('to_q'), normed, channels, { bias: false })
  })
}

function outProjection(side: number, channels: number): LayerCase {
  return layer(`attention's projection + residual ${channels}`, side, (g, s) =>
    add(rows(g, s * s, channels, 'residual'), linear(g, rows(g, s * s, channels), channels)),
  )
}

function selfAttention(side: number, channels: number, heads: number): LayerCase {
  return layer(`self-attention ${heads} × ${channels / heads}`, side, (g, s) => {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => rows(g, s * s, channels, name))
    return attention(g, q!, k!, v!, { heads })
  })
}

function crossAttention(side: number, channels: number, heads: number): LayerCase {
  return layer(`cross-attention ${heads} × ${channels / heads}`, side, (g, s) => {
    const [k, v] = ['k', 'v'].map((name) => rows(g, textTokens, channels, name))
    return attention(g, rows(g, s * s, channels, 'q'), k!, v!, { heads })
  })
}

const textTokens = 77

function gatedProduct(side: number, channels: number): LayerCase {
  return layer(`GEGLU ${channels}→${4 * channels}`, side, (g, s) => {
    const both = linear(g, rows(g, s * s, channels), 8 * channels)
    return mul(slice(both, 0, 4 * channels), gelu(slice(both, 4 * channels, 8 * channels)))
  })
}

function feedForwardOut(side: number, channels: number): LayerCase {
  return layer(`feed-forward ${4 * channels}→${channels} + residual`, side, (g, s) =>
    add(rows(g, s * s, channels, 'residual'), linear(g, rows(g, s * s, 4 * channels), channels)),
  )
}

export const layerCases: readonly LayerCase[] = [
  // UNet, from the largest images to the smallest and back
  convolution(64, 4, 320),
  convolution(64, 320, 320),
  convolution(32, 640, 640),
  convolution(16, 1280, 1280),
  convolution(8, 1280, 1280),
  convolution(32, 1920, 640),
  halving(64, 320),
  halving(32, 640),
  oneByOne(64, 320, 320),
  oneByOne(32, 1920, 640),
  doubling(16, 1280),
  normedConvolution(64, 320, 320),
  normedConvolution(32, 320, 640),
  residualConvolution(16, 1280),
  normedConvolution(64, 320, 4),
  projections(64, 320),
  projections(16, 1280),
  normedQueries(32, 640),
  selfAttention(64, 320, 8),
  selfAttention(32, 640, 8),
  selfAttention(16, 1280, 8),
  crossAttention(64, 320, 8),
  crossAttention(16, 1280, 8),
  outProjection(32, 640),
  gatedProduct(64, 320),
  gatedProduct(16, 1280),
  feedForwardOut(64, 320),
  feedForwardOut(16, 1280),
  layer('time embedding 320→1280→1280', undefined, (g) => {
    const h = silu(linear(g.scope('linear_1'), g.graph.input('x', [1, 320]), 1280))
    return linear(g.scope('linear_2'), h, 1280)
  }),
  // VAE decoder
  convolution(64, 512, 512),
  selfAttention(64, 512, 1),
  doubling(64, 512),
  normedConvolution(256, 256, 256),
  residualConvolution(512, 128),
  normedConvolution(512, 128, 3),
  // Text encoder
  layer('causal attention 12 × 64', undefined, (g) => {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => rows(g, textTokens, 768, name))
    return attention(g, q!, k!, v!, { heads: 12, causal: true })
  }),
  layer('text feed-forward 768→3072', undefined, (g) => quickGelu(linear(g, rows(g, textTokens, 768), 3072))),
]

/** Pixels a side so that the layer takes at most `macs` multiply-adds: those of a picture of 512², halved as often as it takes. */
export function sideWithin({ side, graph }: LayerCase, macs: number): number {
  let pixels = side ?? 1
  while (pixels > leastSide && work(graph(pixels)) > macs) pixels /= 2
  return pixels
}

/** Smaller images are nearly all border. */
const leastSide = 2

/** Multiply-adds, or so many for the elements of the largest tensor that it could have moved instead. */
function work(graph: Graph): number {
  const values = [...graph.inputs.values(), ...graph.nodes.map(({ output }) => output)]
  const elements = Math.max(...values.map(({ shape }) => elementCount(shape)))
  return Math.max(multiplyAdds(graph), 400 * elements)
}

export function multiplyAdds({ nodes }: Graph): number {
  return nodes.reduce((sum, { op, inputs, attrs, output }) => sum + op.cost(inputs, attrs as never, output).macs, 0)
}
