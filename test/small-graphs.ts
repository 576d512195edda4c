// Small models' graphs with seeded values, for tests of what passes and plans do to whole models.
import type { Graph, Value } from '../src/graph/graph.ts'
import { autoencoderKLDecoder, autoencoderKLEncoder, parseAutoencoderKLConfig } from '../src/models/autoencoder-kl.ts'
import { unet2DCondition } from '../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../src/models/unet-config.ts'
import { frugalGraphs } from '../src/passes/frugal-graphs.ts'
import { groupNormOnLoad } from '../src/passes/group-norm-on-load.ts'
import { normaliseOnLoad } from '../src/passes/normalise-on-load.ts'
import { optimiseInParts } from '../src/passes/passes.ts'

const vae = parseAutoencoderKLConfig(
  {
    block_out_channels: [8, 8, 12],
    down_block_types: Array(3).fill('DownEncoderBlock2D'),
    up_block_types: Array(3).fill('UpDecoderBlock2D'),
    latent_channels: 4,
    norm_num_groups: 4,
  },
  'vae/config.json',
)

const unet = parseUNetConfig(
  {
    block_out_channels: [16, 32],
    down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
    layers_per_block: 2,
    cross_attention_dim: 12,
    attention_head_dim: 2,
    norm_num_groups: 4,
  },
  'unet/config.json',
)

/** Odd sizes too: bands and halves then differ. */
export const smallGraphs: Readonly<Record<string, () => Graph>> = {
  'decoder 7×5': () => autoencoderKLDecoder(vae, { batch: 1, height: 7, width: 5 }),
  'encoder 28×20': () => autoencoderKLEncoder(vae, { batch: 1, height: 28, width: 20 }),
  'unet 9×8, two branches': () => unet2DCondition(unet, { batch: 2, height: 9, width: 8, tokens: 5 }),
  'unet 16×6, one branch': () => unet2DCondition(unet, { batch: 1, height: 16, width: 6, tokens: 5 }),
}

export interface Form {
  readonly name: string
  readonly graph: Graph
}

/** The graph as executors get it, and every form that needs less memory. */
export function formsOf(build: () => Graph): {
  readonly plain: Graph
  readonly frugal: readonly Form[]
  /** Products and convolutions normalise what they load, in a graph whole and in chunks; none where no rows are normalised. */
  readonly onLoad: readonly Form[]
} {
  const parts = optimiseInParts(build(), [])
  // Little room, so that images are divided; and a little more, for bands of more rows.
  const frugal = [1, 8000].flatMap((elements) =>
    [...frugalGraphs(parts.unfused, elements)].map((form, i) => ({
      name: `form ${i} for ${elements} elements`,
      graph: form.graph(),
    })),
  )
  const onLoad = [{ name: 'whole', graph: parts.graph }, ...frugal.slice(0, 1)]
    .filter(({ graph }) => graph.nodes.some(({ op }) => op.name === 'layerNorm'))
    .map(({ name, graph }) => ({
      name: `normalised on load, ${name}`,
      graph: groupNormOnLoad(normaliseOnLoad(graph, 1), 1),
    }))
  return { plain: parts.graph, frugal, onLoad }
}

/** Values of about the size that layers keep, the same for the same name. */
export function valuesFor({ name, shape }: Value): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1)
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5)
  const fanIn = shape.length > 1 ? count / shape[0]! : 1
  const scale = shape.length > 1 && name.endsWith('weight') ? 1.7 / Math.sqrt(fanIn) : 1
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state / 2 ** 31) * scale
  })
}
