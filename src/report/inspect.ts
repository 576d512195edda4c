// What a model consists of, and what running it will take: graph, kernels and memory, before anything is loaded.
import type { Graph } from '../graph/graph.ts'
import type { Capabilities } from '../kernels/family.ts'
import { optimise } from '../passes/passes.ts'
import type { Model } from '../pipeline/model.ts'
import { resolveJob } from '../pipeline/options.ts'
import { planGraph } from '../plan/plan.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { checkParams } from '../weights/check.ts'
import { type Component, openComponent } from '../weights/folder.ts'

export interface InspectOptions {
  /** In pixels; the model's own size by default. */
  readonly width?: number | undefined
  readonly height?: number | undefined
  /** Pictures at once. */
  readonly count?: number | undefined
  /** Whether the denoiser runs both branches. */
  readonly guided?: boolean | undefined
  readonly dtype: StorageDType
  readonly capabilities: Capabilities
}

export interface ComponentReport {
  readonly folder: string
  readonly file: string
  /** Bytes by element type, of the tensors that the model uses. */
  readonly fileBytes: Readonly<Record<string, number>>
  readonly parameters: number
  /** Tensors in the file that the model does not know. */
  readonly unknownTensors: readonly string[]
  readonly graph: {
    readonly inputs: Readonly<Record<string, readonly number[]>>
    readonly outputs: Readonly<Record<string, readonly number[]>>
    readonly nodes: number
    readonly nodesByOp: Readonly<Record<string, number>>
    readonly macs: number
  }
  readonly plan: {
    readonly dispatches: number
    readonly kernels: Readonly<Record<string, number>>
    readonly pipelines: number
    readonly weightBytes: number
    readonly arenaBytes: number
    readonly liveLowerBoundBytes: number
    readonly largestBindingBytes: number
    readonly bytesMoved: number
  }
}

export interface InspectReport {
  readonly model: string
  readonly className: string
  readonly width: number
  readonly height: number
  readonly count: number
  readonly dtype: StorageDType
  readonly scheduler: Readonly<Record<string, unknown>>
  readonly defaults: { readonly steps: number; readonly guidance: number; readonly sampler: string | undefined }
  readonly components: readonly ComponentReport[]
  readonly weightBytes: number
  /** The largest of the components' arenas. */
  readonly arenaBytes: number
}

/** Raises what opening the weights raises, 'options/size' for sizes that the model cannot draw, 'plan/too-large'. */
export async function inspectModel(model: Model, options: InspectOptions): Promise<InspectReport> {
  const { denoiser, autoencoder, textEncoders, className } = model.parts
  const { guided = model.defaults.guidance > 1 } = options
  const job = resolveJob(model, { prompt: '', width: options.width, height: options.height, count: options.count })
  const { latentHeight: height, latentWidth: width } = job
  const count = job.prompts.length
  const batch = guided ? 2 * count : count

  const components: ComponentReport[] = []
  for (const encoder of textEncoders)
    components.push(await componentReport(model, encoder.folder, encoder.graph({ batch: 1 }), [], options))
  const unet = denoiser.graph({ batch, height, width, tokens: textEncoders[0]!.tokens })
  components.push(await componentReport(model, denoiser.folder, unet, [], options))
  const decoder = autoencoder.decoder({ batch: 1, height, width })
  const encoder = autoencoder.encoder({ batch: 1, height: 64, width: 64 })
  components.push(await componentReport(model, autoencoder.folder, decoder, [...encoder.params.keys()], options))

  return {
    model: model.files.label,
    className,
    width: job.width,
    height: job.height,
    count,
    dtype: options.dtype,
    scheduler: model.scheduler,
    defaults: model.defaults,
    components,
    weightBytes: components.reduce((sum, each) => sum + each.plan.weightBytes, 0),
    arenaBytes: Math.max(...components.map((each) => each.plan.arenaBytes)),
  }
}

async function componentReport(
  model: Model,
  folder: string,
  graph: Graph,
  alsoKnown: readonly string[],
  options: InspectOptions,
): Promise<ComponentReport> {
  const source = await openComponent(model.files, folder as Component)
  try {
    const unknownTensors = checkParams(graph.params.values(), source).filter((name) => !alsoKnown.includes(name))
    const fileBytes: Record<string, number> = {}
    let parameters = 0
    for (const { name, shape } of graph.params.values()) {
      const { dtype, byteLength } = source.tensors.get(name)!
      fileBytes[dtype] = (fileBytes[dtype] ?? 0) + byteLength
      parameters += shape.reduce((product, size) => product * size, 1)
    }
    return {
      folder,
      file: source.label,
      fileBytes,
      parameters,
      unknownTensors,
      graph: graphReport(graph),
      plan: planReport(graph, options),
    }
  } finally {
    await source.close()
  }
}

function graphReport(graph: Graph): ComponentReport['graph'] {
  return {
    inputs: shapes(graph.inputs),
    outputs: shapes(graph.outputs),
    nodes: graph.nodes.length,
    nodesByOp: counted(graph.nodes.map((node) => node.op.name)),
    macs: graph.nodes.reduce((sum, node) => sum + node.op.cost(node.inputs, node.attrs as never, node.output).macs, 0),
  }
}

function planReport(graph: Graph, { dtype, capabilities }: InspectOptions): ComponentReport['plan'] {
  const plan = planGraph(optimise(graph), { dtype, capabilities })
  const dispatches = plan.steps.flatMap((step) => step.dispatches)
  return {
    dispatches: dispatches.length,
    kernels: counted(plan.steps.map((step) => `${step.node.op.name}/${step.variant}`)),
    pipelines: new Set(dispatches.map((each) => each.wgsl)).size,
    weightBytes: plan.weightBytes,
    arenaBytes: plan.arenaBytes,
    liveLowerBoundBytes: plan.liveLowerBoundBytes,
    largestBindingBytes: plan.largestBindingBytes,
    bytesMoved: plan.steps.reduce((sum, step) => sum + step.bytesMoved, 0),
  }
}

function shapes(values: Graph['inputs']): Record<string, readonly number[]> {
  return Object.fromEntries([...values].map(([name, { shape }]) => [name, shape]))
}

function counted(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return Object.fromEntries(Object.entries(counts).sort(([, a], [, b]) => b - a))
}
