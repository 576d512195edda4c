// What a model takes, from its configs alone: no weights, no tokenizer, no device. Node only, for folders.
import { PhospheneError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import type { Capabilities } from '../kernels/family.ts'
import { type Architecture, type ArchitectureName, architectures } from '../models/architectures.ts'
import { latentDiffusion, type ModelConfigs } from '../models/model-kind.ts'
import { readbackBytes } from '../pipeline/memory-limit.ts'
import { modelConfigs } from '../pipeline/model.ts'
import type { Optimisations } from '../pipeline/optimisations.ts'
import { samplingBytes } from '../run/webgpu/sampling.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import { nodeFolder } from '../weights/node-files.ts'
import { type PlannedComponent, planComponent, planningWith } from './planned.ts'

export interface ArchOptions {
  /** In pixels; the size that the model was trained on by default. */
  readonly width?: number | undefined
  readonly height?: number | undefined
  /** Pictures at once. */
  readonly batch?: number | undefined
  readonly dtype: StorageDType
  readonly weights?: WeightFormat | undefined
  /** For everything but weights. */
  readonly memoryBytes?: number | undefined
  /** What of the engine is switched off. */
  readonly optimisations?: Optimisations | undefined
  readonly capabilities: Capabilities
}

/** Figures that depend on no machine. */
export interface ComponentFigures {
  readonly weightBytes: number
  /** What lives within a run. */
  readonly arenaBytes: number
  /** What lives across runs: inputs, kept keys and values, latents and a sampler's history, results on their way to the host. */
  readonly stateBytes: number
  /** The most that is alive at a dispatch: no arena can be smaller. */
  readonly liveLowerBoundBytes: number
  readonly macs: number
  readonly bytesMoved: number
  readonly dispatches: number
  readonly largestBindingBytes: number
}

export interface ArchReport {
  readonly model: string
  readonly className: string
  readonly width: number
  readonly height: number
  readonly batch: number
  readonly dtype: StorageDType
  readonly weights?: WeightFormat | undefined
  readonly memoryBytes?: number | undefined
  readonly components: {
    /** One prompt through all text encoders. */
    readonly text: ComponentFigures
    /** One step of all pictures, both guidance branches. */
    readonly unet: ComponentFigures
    /** One picture. */
    readonly vae_decoder: ComponentFigures
  }
}

/** PLMS keeps four predictions beside the latents: no sampler keeps more. */
const slots = 5

/**
 * @param arch a known name or a diffusers folder, of which only the configs are read
 * Raises 'model/…', 'options/size', 'plan/too-large', 'plan/memory'.
 */
export async function inspectArch(arch: string, options: ArchOptions): Promise<ArchReport> {
  const configs = isKnown(arch) ? known(arch) : await modelConfigs(nodeFolder(arch))
  const parts = await latentDiffusion(configs)
  const { denoiser, autoencoder, textEncoders, className } = parts
  const { batch = 1, dtype, weights, capabilities, memoryBytes, optimisations } = options
  const factor = autoencoder.pixelsPerLatent
  const [sampleHeight, sampleWidth] = denoiser.sampleSize ?? [64, 64]
  const { width = sampleWidth * factor, height = sampleHeight * factor } = options
  if (width % factor !== 0 || height % factor !== 0)
    throw new PhospheneError({
      code: 'options/size',
      message: `${width}×${height} is not divisible by ${factor}`,
      fix: `Give a width and a height that are multiples of ${factor}.`,
    })
  const latents = { height: height / factor, width: width / factor }
  const planning = { dtype, weights, capabilities, ...planningWith(optimisations) }
  const figures = (graph: Graph, held: readonly string[], besideBytes: number): ComponentFigures => {
    const limit = memoryBytes === undefined ? undefined : { bytes: memoryBytes, besideBytes }
    return figuresOf(planComponent({ graph, held }, planning, limit), besideBytes)
  }
  const unet = denoiser.graph({ batch: 2 * batch, ...latents, tokens: textEncoders[0]!.tokens })
  const latentShape = [batch, latents.height, latents.width, denoiser.latentChannels]
  return {
    model: arch,
    className,
    width,
    height,
    batch,
    dtype,
    weights,
    memoryBytes,
    components: {
      text: together(textEncoders.map((each) => figures(each.graph({ batch: 1 }), [], 0))),
      unet: figures(unet, denoiser.heldInputs, samplingBytes(capabilities.kind, latentShape, slots)),
      vae_decoder: figures(autoencoder.decoder({ batch: 1, ...latents }), [], readbackBytes(parts, latents, dtype)),
    },
  }
}

function isKnown(name: string): name is ArchitectureName {
  return Object.hasOwn(architectures, name)
}

function known(name: ArchitectureName): ModelConfigs {
  const { index, configs }: Architecture = architectures[name]
  return {
    index,
    file: `${name}/model_index.json`,
    config: async (part) => ({ json: configs[part], file: `${name}/${part}/config.json` }),
  }
}

function figuresOf({ plan, prelude, stateBytes }: PlannedComponent, besideBytes: number): ComponentFigures {
  return {
    weightBytes: plan.weightBytes + (prelude?.weightBytes ?? 0),
    arenaBytes: Math.max(plan.arenaBytes, prelude?.arenaBytes ?? 0),
    stateBytes: stateBytes + besideBytes,
    liveLowerBoundBytes: Math.max(plan.liveLowerBoundBytes, prelude?.liveLowerBoundBytes ?? 0),
    macs: plan.steps.reduce((sum, step) => sum + step.macs, 0),
    bytesMoved: plan.steps.reduce((sum, step) => sum + step.bytesMoved, 0),
    dispatches: plan.steps.reduce((sum, step) => sum + step.dispatches.length, 0),
    largestBindingBytes: Math.max(plan.largestBindingBytes, prelude?.largestBindingBytes ?? 0),
  }
}

/** Of graphs that run one after the other in the same memory. */
function together(all: readonly ComponentFigures[]): ComponentFigures {
  const sum = (of: keyof ComponentFigures) => all.reduce((total, each) => total + each[of], 0)
  const most = (of: keyof ComponentFigures) => Math.max(...all.map((each) => each[of]))
  return {
    weightBytes: sum('weightBytes'),
    arenaBytes: most('arenaBytes'),
    stateBytes: sum('stateBytes'),
    liveLowerBoundBytes: most('liveLowerBoundBytes'),
    macs: sum('macs'),
    bytesMoved: sum('bytesMoved'),
    dispatches: sum('dispatches'),
    largestBindingBytes: most('largestBindingBytes'),
  }
}
