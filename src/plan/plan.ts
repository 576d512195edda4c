// Turns a graph into a program: kernels chosen, intermediates placed, weights listed. Nothing here touches a device.
import { PhospheneError } from '../error.ts'
import type { Graph, Node, Value } from '../graph/graph.ts'
import { type Choice, chooseVariant } from '../kernels/choose.ts'
import { families } from '../kernels/families.ts'
import type { BindingRole, Capabilities, Family, Operand, PreparedWeight, Request, Storage } from '../kernels/family.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { type Lifetime, liveLowerBound, placeBySize } from './arena.ts'
import { reuseInPlace } from './in-place.ts'
import { floatStorage, padRows, rowLayout, storageBytes } from './layout.ts'
import { resolveViews, type View } from './views.ts'

export interface PlanOptions {
  readonly dtype: StorageDType
  readonly capabilities: Capabilities
  /** Size of the arena's buffers; WebGPU's default binding limit unless said. */
  readonly pageBytes?: number
  /** Forces a variant by op name, for tests and comparisons. */
  readonly variants?: Readonly<Record<string, string>>
  /** Chooses by other means than estimated cost, such as measurement. */
  readonly choose?: (family: Family<unknown>, request: Request<unknown>) => Choice
}

/** What a binding gets. */
export type Location =
  | { readonly kind: 'arena'; readonly offset: number; readonly bytes: number }
  | { readonly kind: 'weight'; readonly index: number }
  | { readonly kind: 'input'; readonly name: string }

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
  /** Bytes of the operands read and written, each once. */
  readonly bytesMoved: number
}

/** A parameter (or constant) in the layout that its kernel wants. */
export interface PlannedWeight {
  readonly value: Value
  readonly layout: PreparedWeight
  readonly bytes: number
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

const defaultPageBytes = 128 * 1024 * 1024

/** Plans `graph` for a device. Raises 'plan/too-large' where a tensor fits no buffer. */
export function planGraph(graph: Graph, options: PlanOptions): Plan & { readonly arena: readonly ArenaTensor[] } {
  const { capabilities } = options
  const storage = floatStorage(options.dtype, capabilities.shaderF16)
  const storageOf = (value: Value): Storage => (value.kind === 'int' ? 'int' : storage)
  const { views, steps } = resolveViews(graph)
  const memory = reuseInPlace(graph, steps, views) // base value → the value whose memory it takes
  const ownerOf = (value: Value): Value => memory.get(views.get(value)!.base) ?? views.get(value)!.base

  const slots = new Map<Value, number>()
  const slotOf = (owner: Value): number => {
    const known = slots.get(owner)
    if (known !== undefined) return known
    slots.set(owner, slots.size)
    return slots.size - 1
  }
  const operand = (value: Value): Operand => {
    const view = views.get(value)!
    const owner = ownerOf(value)
    const space = owner.origin === 'node' ? 'arena' : owner.origin === 'input' ? 'state' : 'weight'
    return {
      slot: slotOf(owner),
      shape: value.shape,
      storage: storageOf(value),
      ...rowLayout(value.shape),
      ...strides(view),
      space,
    }
  }

  const weights: PlannedWeight[] = []
  const weightIndex = new Map<string, number>()
  const weight = (value: Value, prepared: PreparedWeight | undefined): number => {
    const layout = prepared ?? rowsOfChannels(value)
    const key = `${value.id} ${layout.key}`
    let index = weightIndex.get(key)
    if (index === undefined) {
      index = weights.length
      weightIndex.set(key, index)
      weights.push({ value, layout, bytes: layout.elements * (storage === 'f32' ? 4 : 2) })
    }
    return index
  }

  // Every tensor of the arena: owners of values, then scratch, with the steps between which they live.
  const lifetimes: { label: string; sizeBytes: number; first: number; last: number }[] = []
  const tensorOf = new Map<Value, number>()
  const touch = (owner: Value, step: number): number => {
    let index = tensorOf.get(owner)
    if (index === undefined) {
      index = lifetimes.length
      tensorOf.set(owner, index)
      lifetimes.push({
        label: owner.name,
        sizeBytes: storageBytes(owner.shape, storageOf(owner)),
        first: step,
        last: step,
      })
    }
    lifetimes[index]!.last = Math.max(lifetimes[index]!.last, step)
    return index
  }

  type Pending = { kind: 'arena'; tensor: number } | Exclude<Location, { kind: 'arena' }>
  const locate = (value: Value, step: number): Pending => {
    const owner = ownerOf(value)
    if (owner.origin === 'input') return { kind: 'input', name: owner.name }
    return { kind: 'arena', tensor: touch(owner, step) }
  }

  const pending = steps.map((node, step) => {
    const request: Request<unknown> = {
      attrs: node.attrs,
      inputs: node.inputs.map(operand),
      output: operand(node.output),
      ...(node.epilogue ? { epilogue: { expr: node.epilogue.expr, inputs: node.epilogue.inputs.map(operand) } } : {}),
      capabilities,
    }
    const family = families[node.op.name as keyof typeof families]
    if (!family) throw internal(`no kernel family for ${node.op.name} (${node.scope})`)
    const choice =
      options.choose?.(family as Family<unknown>, request) ??
      chooseVariant(family as Family<unknown>, request, options.variants?.[node.op.name])
    const resolve = (role: BindingRole): Pending => {
      switch (role.kind) {
        case 'scratch': {
          const sizeBytes = choice.kernel.scratch[role.index]!
          const label = `${node.output.name} scratch ${role.index}`
          const known = lifetimes.findIndex((l) => l.label === label)
          if (known >= 0) return { kind: 'arena', tensor: known }
          lifetimes.push({ label, sizeBytes, first: step, last: step })
          return { kind: 'arena', tensor: lifetimes.length - 1 }
        }
        case 'output':
          return locate(node.output, step)
        case 'input':
        case 'epilogue': {
          const value = (role.kind === 'input' ? node.inputs : node.epilogue!.inputs)[role.index]!
          const { origin } = ownerOf(value)
          if (origin !== 'param' && origin !== 'constant') return locate(value, step)
          return {
            kind: 'weight',
            index: weight(value, role.kind === 'input' ? choice.prepared(role.index) : undefined),
          }
        }
      }
    }
    const dispatches = choice.kernel.dispatches.map((d) => ({ ...d, bindings: d.bindings.map(resolve) }))
    // Values that a kernel aliases or leaves unbound still live at this step.
    for (const value of [...node.inputs, ...(node.epilogue?.inputs ?? []), node.output])
      if (ownerOf(value).origin === 'node') locate(value, step)
    return { node, variant: choice.variant, dispatches }
  })
  for (const value of graph.outputs.values()) if (ownerOf(value).origin === 'node') touch(ownerOf(value), steps.length)

  // WebGPU's default binding limit unless a tensor needs more and the device has it.
  const most = capabilities.limits.maxStorageBufferBindingSize
  const largest = lifetimes.reduce((a, b) => (b.sizeBytes > a.sizeBytes ? b : a), { label: '', sizeBytes: 0 })
  if (largest.sizeBytes > most)
    throw new PhospheneError({
      code: 'plan/too-large',
      message: `${graph.name}: ${largest.label} needs ${largest.sizeBytes} bytes in one binding; this device binds ${most}`,
      fix: 'Draw a smaller picture or use --dtype f16.',
    })
  const heavy = weights.find(({ bytes }) => bytes > most)
  if (heavy)
    throw new PhospheneError({
      code: 'plan/too-large',
      message: `${graph.name}: the weight ${heavy.value.name} needs ${heavy.bytes} bytes in one binding; this device binds ${most}`,
      fix: 'Use --dtype f16, which halves it.',
    })
  const pageBytes = Math.min(most, Math.max(options.pageBytes ?? defaultPageBytes, largest.sizeBytes))
  const layout = placeBySize(lifetimes, { alignment: 256, pageBytes })
  const settle = (p: Pending): Location =>
    p.kind === 'arena' ? { kind: 'arena', offset: layout.offsets[p.tensor]!, bytes: lifetimes[p.tensor]!.sizeBytes } : p

  const planned = pending.map(
    ({ node, variant, dispatches }): PlannedStep => ({
      node,
      variant,
      dispatches: dispatches.map((d) => ({ ...d, bindings: d.bindings.map(settle) })),
      macs: node.op.cost(node.inputs, node.attrs as never, node.output).macs,
      bytesMoved: [...new Set([...node.inputs, ...(node.epilogue?.inputs ?? []), node.output])].reduce(
        (sum, v) => sum + storageBytes(v.shape, storageOf(v)),
        0,
      ),
    }),
  )
  const place = (value: Value): Placement => ({
    value,
    location: settle(locate(value, steps.length)),
    storage: storageOf(value),
    ...strides(views.get(value)!),
    bytes: storageBytes(ownerOf(value).shape, storageOf(value)),
  })
  for (const value of graph.inputs.values())
    if (!views.has(value)) throw internal(`input ${value.name} is used by no node`)
  const inputs = new Map([...graph.inputs].map(([name, value]) => [name, place(value)]))
  const outputs = new Map([...graph.outputs].map(([name, value]) => [name, place(value)]))
  return {
    graph,
    storage,
    steps: planned,
    weights,
    inputs,
    outputs,
    pageBytes,
    arenaBytes: layout.sizeBytes,
    liveLowerBoundBytes: liveLowerBound(lifetimes),
    weightBytes: weights.reduce((sum, w) => sum + w.bytes, 0),
    inputBytes: [...inputs.values()].reduce((sum, p) => sum + p.bytes, 0),
    largestBindingBytes: Math.max(...weights.map((w) => w.bytes), ...lifetimes.map((l) => l.sizeBytes)),
    arena: lifetimes.map((l, i) => ({ ...l, offset: layout.offsets[i]! })),
  }
}

function strides(view: View): { stride4: number; offset4: number } {
  return { stride4: view.stride4, offset4: view.offset4 }
}

function rowsOfChannels(value: Value): PreparedWeight {
  const layout = rowLayout(value.shape)
  return {
    key: 'rows',
    elements: layout.rows * layout.groups4 * 4,
    permutation: {
      sizes: [1, layout.rows, layout.groups4 * 4],
      limits: [1, layout.rows, layout.channels],
      strides: [0, layout.channels, 1],
    },
    pack: (source, target) => padRows(source, layout, target),
  }
}

function internal(message: string): PhospheneError {
  return new PhospheneError({ code: 'internal', message, fix: 'Please report this with the model that you loaded.' })
}
