// What a model consists of, and what running it will take: graph, kernels and memory, before anything is loaded.
import type { Graph } from '../graph/graph.ts'
import type { Capabilities } from '../kernels/family.ts'
import type { Model } from '../pipeline/model.ts'
import { type Optimisations, passOptions } from '../pipeline/optimisations.ts'
import type { Plan } from '../plan/plan.ts'
import { weightFormat } from '../run/quantised-parameters.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import { checkParams } from '../weights/check.ts'
import { openComponent } from '../weights/folder.ts'
import { type ComponentDetails, componentDetails } from './component-details.ts'
import { type ModelComponent, modelComponents, type PictureSize } from './components.ts'
import { planComponent, planningWith } from './planned.ts'

export interface InspectOptions extends PictureSize {
  readonly dtype: StorageDType
  /** As the files have them unless given. */
  readonly weights?: WeightFormat | undefined
  readonly capabilities: Capabilities
  /** Whether each component's plan is told step by step. */
  readonly details?: boolean | undefined
  /** For everything but weights. */
  readonly memoryBytes?: number | undefined
  /** What of the engine is switched off. */
  readonly optimisations?: Optimisations | undefined
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
  /** Of a run: the denoiser's is a step. */
  readonly plan: PlanReport
  /** What is computed once a picture, before the runs. */
  readonly prelude?: PlanReport | undefined
  readonly details?: ComponentDetails
}

export interface PlanReport {
  readonly macs: number
  readonly dispatches: number
  readonly kernels: Readonly<Record<string, number>>
  readonly pipelines: number
  readonly weightBytes: number
  readonly arenaBytes: number
  /** Inputs, what the prelude left among them. */
  readonly stateBytes: number
  readonly liveLowerBoundBytes: number
  readonly largestBindingBytes: number
  readonly bytesMoved: number
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
  const { width, height, count, components: parts } = modelComponents(model, options)
  const components: ComponentReport[] = []
  for (const part of parts) components.push(await componentReport(model, part, options))
  return {
    model: model.files.label,
    className: model.parts.className,
    width,
    height,
    count,
    dtype: options.dtype,
    scheduler: model.scheduler,
    defaults: model.defaults,
    components,
    weightBytes: components.reduce((sum, { plan, prelude }) => sum + plan.weightBytes + (prelude?.weightBytes ?? 0), 0),
    arenaBytes: Math.max(...components.map((each) => each.plan.arenaBytes)),
  }
}

async function componentReport(
  model: Model,
  component: ModelComponent,
  options: InspectOptions,
): Promise<ComponentReport> {
  const { folder, graph, held, alsoKnown } = component
  const source = await openComponent(model.files, folder)
  try {
    const known = new Set(alsoKnown.map((param) => param.name))
    const unknownTensors = checkParams(graph.params.values(), source).filter((name) => !known.has(name))
    const fileBytes: Record<string, number> = {}
    let parameters = 0
    for (const { name, shape } of graph.params.values()) {
      const { dtype, byteLength } = source.tensors.get(name)!
      fileBytes[dtype] = (fileBytes[dtype] ?? 0) + byteLength
      parameters += shape.reduce((product, size) => product * size, 1)
    }
    const { dtype, capabilities } = options
    const limit = options.memoryBytes === undefined ? undefined : { bytes: options.memoryBytes, besideBytes: 0 }
    const weights = weightFormat(options.weights, source)
    const { plan, prelude } = planComponent(
      { graph, held },
      { dtype, weights, capabilities, ...planningWith(options.optimisations) },
      limit,
    )
    return {
      folder,
      file: source.label,
      fileBytes,
      parameters,
      unknownTensors,
      graph: graphReport(graph),
      plan: planReport(plan),
      prelude: prelude && planReport(prelude),
      ...(options.details && { details: componentDetails(component, plan, passOptions(options.optimisations)) }),
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

function planReport(plan: Plan): PlanReport {
  const dispatches = plan.steps.flatMap((step) => step.dispatches)
  return {
    macs: plan.steps.reduce((sum, step) => sum + step.macs, 0),
    dispatches: dispatches.length,
    kernels: counted(plan.steps.map((step) => `${step.node.op.name}/${step.variant}`)),
    pipelines: new Set(dispatches.map((each) => each.wgsl)).size,
    weightBytes: plan.weightBytes,
    arenaBytes: plan.arenaBytes,
    stateBytes: plan.inputBytes,
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
