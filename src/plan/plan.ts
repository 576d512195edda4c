// Turns a graph into a program: kernels chosen, intermediates placed, weights listed. Nothing here touches a device.
import { PhospheneError } from '../error.ts'
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { Choice } from '../kernels/choose.ts'
import type { BindingRole, Capabilities, Family, Request, Storage } from '../kernels/family.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { isQuantised, type WeightFormat } from '../tensor/quantise.ts'
import { copiedParts } from './accesses.ts'
import { FreeSpace, type Lifetime, liveLowerBound, placeTensors } from './arena.ts'
import { ConstantList } from './constants.ts'
import { kernelsFor, macsOf } from './kernel-choice.ts'
import { floatStorage, rowLayout, storageBytes } from './layout.ts'
import type { Memory } from './memory.ts'
import { chooseMemory } from './order.ts'
import { quantisableParams } from './quantised.ts'
import { type BoundValue, bindingAlignment, stepRequests } from './requests.ts'
import type { SharedChoices } from './shared-choices.ts'
import { isJoin, operandsOf } from './views.ts'
import { type PlannedWeight, WeightList } from './weights.ts'

export type { PlannedWeight } from './weights.ts'

export interface PlanOptions {
  readonly dtype: StorageDType
  /** How weights of products, convolutions and token tables are stored; as `dtype` unless quantised. */
  readonly weights?: WeightFormat | undefined
  readonly capabilities: Capabilities
  /** Size of the arena's buffers; WebGPU's default binding limit unless said. */
  readonly pageBytes?: number
  /** To this size the arena may grow for the sake of kernels' scratch. Whether all else fits is `planWithin`'s business. */
  readonly arenaBytes?: number
  /** Takes kernels that need no memory of their own, where there are any. */
  readonly scratchless?: boolean
  /** Forces a variant by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
  /** Whether outputs are kept in buffers of their own, bound by name like inputs: those of a program that runs after this one. */
  readonly keepOutputs?: boolean
  /** Chooses by other means than estimated cost, such as measurement. */
  readonly choose?: (family: Family<unknown>, request: Request<unknown>) => Choice
  /** Told what a plan asks of the kernels, each time one is made: what measuring begins with. */
  readonly onRequests?: ((asked: readonly AskedKernel[]) => void) | undefined
  /** Remembers estimates and texts from plan to plan: of one device, and with the same `variants`. */
  readonly ranked?: SharedChoices | undefined
}

/** What a step asks for, and the most bytes of scratch that any layout of the arena could leave it. */
export interface AskedKernel {
  readonly family: Family<unknown>
  readonly request: Request<unknown>
  readonly roomBytes: number
}

/** What a binding gets. */
export type Location =
  | { readonly kind: 'arena'; readonly offset: number; readonly bytes: number }
  | { readonly kind: 'weight'; readonly index: number }
  | { readonly kind: 'input'; readonly name: string }
  | { readonly kind: 'constant'; readonly offset: number; readonly bytes: number }

export interface PlannedDispatch {
  readonly label: string
  readonly wgsl: string
  readonly workgroups: readonly [number, number, number]
  readonly bindings: readonly Location[]
}

export interface PlannedStep {
  readonly node: Node
  readonly variant: string
  readonly dispatches: readonly PlannedDispatch[]
  readonly macs: number
  /** Bytes of the operands read and written, each once, and of logits that are stored. */
  readonly bytesMoved: number
}

/** Where a graph's input or output lies. */
export interface Placement {
  readonly value: Value
  readonly location: Location
  readonly storage: Storage
  readonly stride4: number
  readonly offset4: number
  readonly bytes: number
}

export interface Plan {
  readonly graph: Graph
  readonly storage: Storage
  readonly steps: readonly PlannedStep[]
  readonly weights: readonly PlannedWeight[]
  /** What kernels read as `var<uniform>`: locations of kind 'constant' are ranges of it. */
  readonly constants: Uint32Array<ArrayBuffer>
  readonly inputs: ReadonlyMap<string, Placement>
  readonly outputs: ReadonlyMap<string, Placement>
  readonly pageBytes: number
  readonly arenaBytes: number
  readonly liveLowerBoundBytes: number
  readonly weightBytes: number
  readonly inputBytes: number
  readonly largestBindingBytes: number
}

/** Where one of the arena's tensors lies, who it belongs to and when it lives: for reports. */
export interface ArenaTensor extends Lifetime {
  readonly label: string
  readonly offset: number
}

/** A plan with its arena tensor by tensor. */
export interface ArenaPlan extends Plan {
  readonly arena: readonly ArenaTensor[]
}

const defaultPageBytes = 128 * 1024 * 1024

/**
 * To what size an arena may grow for scratch where no limit is given: on CPU adapters small ones to 32 MB, on GPUs to 44 MB,
 * since faster kernels are what scratch buys there (twice as much would make SD 1.5's step 3 % faster by estimate); large ones
 * by an eighth.
 */
function grown(bytes: number, { kind }: Capabilities): number {
  return bytes > 128e6 ? 1.125 * bytes : Math.max(bytes, kind === 'gpu' ? 44e6 : 32e6)
}

/**
 * Plans `graph` for a device. Raises 'plan/too-large' where a tensor fits no buffer.
 * @param known what `chooseMemory` found for this graph and storage, where it was asked already
 */
export function planGraph(graph: Graph, options: PlanOptions, known?: Memory): ArenaPlan {
  const { capabilities } = options
  const storage = floatStorage(options.dtype, capabilities.shaderF16)
  const { weights: format } = options
  const quantisable: ReadonlySet<Value> = isQuantised(format) ? quantisableParams(graph) : new Set()
  const storageOf = (value: Value): Storage => {
    if (isQuantised(format) && quantisable.has(value)) return format
    return value.kind === 'float' ? storage : value.kind
  }
  const bytesOf = (base: Value): number => storageBytes(base.shape, storageOf(base))
  for (const value of graph.inputs.values())
    if (!isRead(graph, value)) throw internal(`input ${value.name} is used by no node`)
  const memory = known ?? chooseMemory(graph, bytesOf)
  const { steps, views, ownerOf } = memory
  // Tensors that live for more than a step are placed first: kernels' scratch goes where these leave room.
  const tensors: (Lifetime & { readonly label: string })[] = []
  const tensorOf = new Map<Value, number>()
  const kept = options.keepOutputs ? keptOutputs(graph, memory) : new Map<Value, string>()
  for (const [owner, lifetime] of memory.lifetimes) {
    if (kept.has(owner)) continue
    tensorOf.set(owner, tensors.length)
    tensors.push({ label: owner.name, sizeBytes: bytesOf(owner), ...lifetime })
  }
  const pageBytes = pageSize(graph, tensors, options)
  const arena = { alignment: bindingAlignment, pageBytes }
  const requestsOf = stepRequests(memory, storageOf, capabilities, (owner) => tensorOf.has(owner))
  const requests = steps.map((node) => requestsOf(node))
  const kernels = kernelsFor(steps, requests, options, (layout) => {
    const roomBytes = Math.max(layout.sizeBytes, options.arenaBytes ?? grown(layout.sizeBytes, capabilities))
    return { space: new FreeSpace(tensors, layout, arena), roomBytes }
  })
  const mostBytes = options.arenaBytes ?? grown(memory.peakBytes, capabilities)
  options.onRequests?.(
    requests.flatMap((all, step) =>
      all.map(({ family, request }) => ({ family, request, roomBytes: mostBytes - memory.live[step]! })),
    ),
  )
  const layout = placeTensors(tensors, { ...arena, roomBytes: options.arenaBytes }, kernels.costIn)
  const chosenKernels = kernels.chosenIn(layout)
  const offsets = [...layout.offsets]
  let arenaBytes = layout.sizeBytes
  let largestBindingBytes = 0
  const weights = new WeightList(storageOf)
  const constants = new ConstantList()
  const locate = ({ value, start, end }: BoundValue): Location => {
    const owner = ownerOf(value)
    if (owner.origin === 'input') return { kind: 'input', name: owner.name }
    if (kept.has(owner)) return { kind: 'input', name: kept.get(owner)! }
    if (owner.origin !== 'node') return { kind: 'weight', index: weights.indexOf(owner, undefined) }
    const offset = offsets[tensorOf.get(owner)!]! + start
    largestBindingBytes = Math.max(largestBindingBytes, end - start)
    return { kind: 'arena', offset, bytes: end - start }
  }
  const planned = steps.map((node, step): PlannedStep => {
    const chosen = requests[step]!.map((each, at) => {
      const { candidate, scratch } = chosenKernels[step]![at]!
      const choice = candidate.choice()
      choice.kernel.scratch.forEach((sizeBytes, i) => {
        largestBindingBytes = Math.max(largestBindingBytes, sizeBytes)
        tensors.push({ label: `${node.output.name} scratch ${i}`, sizeBytes, first: step, last: step })
        offsets.push(scratch.offsets[i]!)
      })
      arenaBytes = Math.max(arenaBytes, scratch.end)
      const bind = (role: BindingRole): Location => {
        switch (role.kind) {
          case 'scratch':
            return { kind: 'arena', offset: scratch.offsets[role.index]!, bytes: choice.kernel.scratch[role.index]! }
          case 'constant':
            return { kind: 'constant', ...constants.rangeOf(choice.kernel.constants![role.index]!) }
          case 'output':
            return locate(each.output)
          case 'epilogue':
            return locate(each.epilogue[role.index]!)
          case 'input': {
            const bound = each.inputs[role.index]!
            if (!isConstant(ownerOf(bound.value))) return locate(bound)
            return {
              kind: 'weight',
              index: weights.indexOf(
                bound.value,
                choice.prepared(role.index),
                each.request.inputs[role.index]!.quantised,
              ),
            }
          }
        }
      }
      return { choice, dispatches: choice.kernel.dispatches.map((d) => ({ ...d, bindings: d.bindings.map(bind) })) }
    })
    const dispatches = chosen.flatMap((each) => each.dispatches)
    const bound = new Set(
      dispatches.flatMap(({ bindings }) => bindings).flatMap((b) => (b.kind === 'weight' ? b.index : [])),
    )
    // Parts of a join that were made in their place are not moved.
    const copied = isJoin(node) ? copiedParts(node, views).map(({ value }) => value) : undefined
    const tensorsMoved = copied
      ? [...copied, ...copied]
      : [...new Set([...operandsOf(node), node.output])].filter((v) => !isConstant(ownerOf(v)))
    return {
      node,
      variant: [...new Set(chosen.map(({ choice }) => choice.variant))].join(' + '),
      dispatches,
      macs: macsOf(node, chosen[0]?.choice),
      bytesMoved:
        tensorsMoved.reduce((sum, v) => sum + storageBytes(v.shape, storageOf(v)), 0) +
        [...bound].reduce((sum, index) => sum + weights.all[index]!.bytes, 0) +
        chosen.reduce((sum, { choice }) => sum + (choice.bytes ?? 0), 0),
    }
  })
  checkWeights(graph, weights.all, capabilities)

  const place = (value: Value): Placement => {
    const { stride4, offset4 } = views.of.get(value)!
    const storage = storageOf(value)
    const bytes = bytesOf(ownerOf(value))
    return { value, location: locate({ value, start: 0, end: bytes }), storage, stride4, offset4, bytes }
  }
  const inputs = new Map([...graph.inputs].map(([name, value]) => [name, place(value)]))
  return {
    graph,
    storage,
    steps: planned,
    weights: weights.all,
    constants: constants.all(),
    inputs,
    outputs: new Map([...graph.outputs].map(([name, value]) => [name, place(value)])),
    pageBytes,
    arenaBytes,
    liveLowerBoundBytes: liveLowerBound(tensors),
    weightBytes: weights.all.reduce((sum, w) => sum + w.bytes, 0),
    inputBytes: [...inputs.values()].reduce((sum, p) => sum + p.bytes, 0),
    largestBindingBytes: weights.all.reduce((most, { bytes }) => Math.max(most, bytes), largestBindingBytes),
    arena: tensors.map((t, i) => ({ ...t, offset: offsets[i]! })),
  }
}

/** The owners of the graph's outputs, each with its output's name: whoever takes it finds it as an input of its own would lie. */
function keptOutputs(graph: Graph, { views, ownerOf }: Memory): ReadonlyMap<Value, string> {
  const kept = new Map<Value, string>()
  for (const [name, value] of graph.outputs) {
    const { base, stride4, offset4 } = views.of.get(value)!
    const whole =
      offset4 === 0 && stride4 === rowLayout(value.shape).groups4 && rowLayout(base.shape).groups4 === stride4
    if (!whole || kept.has(ownerOf(value)) || value.origin !== 'node')
      throw internal(`output ${name} of ${graph.name} cannot be kept: it shares its memory`)
    kept.set(ownerOf(value), name)
  }
  return kept
}

/** WebGPU's default binding limit unless a tensor needs more and the device has it. */
function pageSize(
  graph: Graph,
  tensors: readonly (Lifetime & { readonly label: string })[],
  { capabilities, pageBytes = defaultPageBytes }: PlanOptions,
): number {
  const most = capabilities.limits.maxStorageBufferBindingSize
  const largest = tensors.reduce((a, b) => (b.sizeBytes > a.sizeBytes ? b : a), { label: '', sizeBytes: 0 })
  if (largest.sizeBytes > most)
    throw tooLarge(graph, largest.label, largest.sizeBytes, most, 'Draw a smaller picture or use --dtype f16.')
  return Math.min(most, Math.max(pageBytes, largest.sizeBytes))
}

function checkWeights(graph: Graph, weights: readonly PlannedWeight[], { limits }: Capabilities): void {
  const most = limits.maxStorageBufferBindingSize
  const heavy = weights.find(({ bytes }) => bytes > most)
  if (heavy)
    throw tooLarge(graph, `the weight ${heavy.value.name}`, heavy.bytes, most, 'Use --dtype f16, which halves it.')
}

function tooLarge(graph: Graph, what: string, bytes: number, most: number, fix: string): PhospheneError {
  return new PhospheneError({
    code: 'plan/too-large',
    message: `${graph.name}: ${what} needs ${bytes} bytes in one binding; this device binds ${most}`,
    fix,
  })
}

function isConstant({ origin }: Value): boolean {
  return origin === 'param' || origin === 'constant'
}

function isRead(graph: Graph, value: Value): boolean {
  return graph.nodes.some((node) => operandsOf(node).includes(value)) || [...graph.outputs.values()].includes(value)
}

function internal(message: string): PhospheneError {
  return new PhospheneError({ code: 'internal', message, fix: 'Please report this with the model that you loaded.' })
}
