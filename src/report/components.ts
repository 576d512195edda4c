// The graphs that a picture takes, component by component, for reports that plan or run them one by one.
import type { Graph } from '../graph/graph.ts'
import type { Model } from '../pipeline/model.ts'
import { resolveJob } from '../pipeline/options.ts'
import type { HostTensor } from '../run/executor.ts'
import type { WantedParam } from '../weights/check.ts'
import type { Component } from '../weights/model-files.ts'

export interface PictureSize {
  /** In pixels; the model's own size by default. */
  readonly width?: number | undefined
  readonly height?: number | undefined
  /** Pictures at once. */
  readonly count?: number | undefined
  /** Whether the denoiser runs both branches; by default as the model's guidance says. */
  readonly guided?: boolean | undefined
}

export interface ModelComponent {
  readonly folder: Component
  readonly graph: Graph
  /** Inputs that stay the same for all steps of a picture. */
  readonly held: readonly string[]
  /** Names that its file may hold beside the graph's own. */
  readonly alsoKnown: readonly WantedParam[]
  /** Inputs of an ordinary run: a timestep of the middle, numbers without a pattern elsewhere. */
  inputs(): Record<string, HostTensor>
}

export interface ModelComponents {
  readonly width: number
  readonly height: number
  readonly count: number
  /** Text encoders, denoiser, decoder. */
  readonly components: readonly ModelComponent[]
}

/** Raises 'options/size' for sizes that the model cannot draw. */
export function modelComponents(model: Model, size: PictureSize): ModelComponents {
  const { denoiser, autoencoder, textEncoders } = model.parts
  const { guided = model.defaults.guidance > 1 } = size
  const job = resolveJob(model, { prompt: '', width: size.width, height: size.height, count: size.count })
  const { latentHeight: height, latentWidth: width } = job
  const count = job.prompts.length
  const unet = denoiser.graph({ batch: guided ? 2 * count : count, height, width, tokens: textEncoders[0]!.tokens })
  const component = (folder: string, graph: Graph, alsoKnown: readonly WantedParam[] = []): ModelComponent => ({
    folder: folder as Component,
    graph,
    held: graph === unet ? denoiser.heldInputs : [],
    alsoKnown,
    inputs: () => ({ ...patternless(graph), ...(graph === unet ? { timestep: denoiser.timestepInput([500]) } : {}) }),
  })
  const encoder = autoencoder.encoder({ batch: 1, height: 64, width: 64 })
  return {
    width: job.width,
    height: job.height,
    count,
    components: [
      ...textEncoders.map((each) => component(each.folder, each.graph({ batch: 1 }))),
      component(denoiser.folder, unet),
      component(autoencoder.folder, autoencoder.decoder({ batch: 1, height, width }), [...encoder.params.values()]),
    ],
  }
}

function patternless(graph: Graph): Record<string, HostTensor> {
  return Object.fromEntries(
    [...graph.inputs.values()].map(({ name, shape, kind }) => {
      const length = shape.reduce((product, size) => product * size, 1)
      if (kind === 'int') return [name, Int32Array.from({ length }, (_, i) => 3 + (i % 7))]
      return [name, Float32Array.from({ length }, (_, i) => Math.sin((i + 1) * 12.9898))]
    }),
  )
}
