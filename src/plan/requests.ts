// What a step asks of the kernel families: its node, with operands where the memory plan put them. An operand is bound as the
// part of its tensor that it covers, so that bands of one image, which lie at different places, have the same kernel.
import { input } from '../graph/expr.ts'
import type { Node, Value } from '../graph/graph.ts'
import type { Shape } from '../graph/op.ts'
import { families } from '../kernels/families.ts'
import type { Capabilities, Family, Operand, Request, Storage } from '../kernels/family.ts'
import { isQuantised } from '../tensor/quantise.ts'
import { copiedParts } from './accesses.ts'
import { groupBytes, rowLayout } from './layout.ts'
import type { Memory } from './memory.ts'
import { quantisedLayout } from './quantised.ts'
import { isJoin } from './views.ts'

/** A value as an operand, and what of its memory is bound for it. */
export interface BoundValue {
  readonly value: Value
  /** Bytes from the start of the tensor that the value lies in: a multiple of the alignment, and the end. */
  readonly start: number
  readonly end: number
}

export interface StepRequest {
  /** The op's, or that of pointwise functions for the copy of a part into a join. */
  readonly family: Family<unknown>
  readonly request: Request<unknown>
  /** What the request's inputs, the epilogue's and the output are. */
  readonly inputs: readonly BoundValue[]
  readonly epilogue: readonly BoundValue[]
  readonly output: BoundValue
}

interface Part {
  readonly value: Value
  readonly shape: Shape
  /** From the start of the value, in its own layout. */
  readonly offset4: number
}

/** Bindings begin at multiples of this: WebGPU's default minStorageBufferOffsetAlignment. */
export const bindingAlignment = 256

/** Makes the requests of steps. `isPlaced`: whether a tensor lies in the arena and can be bound in parts. */
export function stepRequests(
  memory: Memory,
  storageOf: (value: Value) => Storage,
  capabilities: Capabilities,
  isPlaced: (owner: Value) => boolean,
): (node: Node) => readonly StepRequest[] {
  const unbound = ({ value, shape, offset4 }: Part): { operand: Operand; owner: Value; span: Span } => {
    const view = memory.views.of.get(value)!
    const owner = memory.ownerOf(value)
    const own = rowLayout(value.shape).groups4
    const layout = rowLayout(shape)
    const storage = storageOf(value)
    const at = view.offset4 + Math.floor(offset4 / own) * view.stride4 + (offset4 % own)
    const operand: Operand = {
      slot: 0,
      shape,
      storage,
      ...layout,
      stride4: view.stride4,
      offset4: at,
      space: owner.origin === 'node' ? 'arena' : owner.origin === 'input' ? 'state' : 'weight',
    }
    const bytes = groupBytes[storage]
    const end = (at + (layout.rows - 1) * view.stride4 + layout.groups4) * bytes
    const start = Math.floor((at * bytes) / bindingAlignment) * bindingAlignment
    return { operand, owner, span: { start, end } }
  }

  /** The parts as operands: those that overlap in memory share a slot. */
  const bind = (parts: readonly Part[]): { operand: Operand; bound: BoundValue }[] => {
    const all = parts.map(unbound)
    const slots: (Span & { owner: Value })[] = []
    for (const { owner, span } of all) {
      if (!isPlaced(owner)) {
        if (!slots.some((slot) => slot.owner === owner)) slots.push({ owner, start: 0, end: Number.POSITIVE_INFINITY })
        continue
      }
      const joined = { owner, ...span }
      for (let i = slots.length - 1; i >= 0; i--) {
        const slot = slots[i]!
        if (slot.owner !== owner || slot.start >= joined.end || joined.start >= slot.end) continue
        joined.start = Math.min(joined.start, slot.start)
        joined.end = Math.max(joined.end, slot.end)
        slots.splice(i, 1)
      }
      slots.push(joined)
    }
    return all.map(({ operand, owner, span }, i) => {
      const slot = slots.findIndex((s) => s.owner === owner && s.start <= span.start && span.end <= s.end)
      const { start, end } = slots[slot]!
      const offset4 = operand.offset4 - start / groupBytes[operand.storage]
      return { operand: { ...operand, slot, offset4 }, bound: { value: parts[i]!.value, start, end } }
    })
  }

  const whole = (value: Value): Part => ({ value, shape: value.shape, offset4: 0 })
  const copy = (node: Node, { value, offset4 }: { value: Value; offset4: number }): StepRequest => {
    const [from, to] = bind([whole(value), { value: node.output, shape: value.shape, offset4 }]) as [Bound, Bound]
    return {
      family: families.pointwise as Family<unknown>,
      request: { attrs: { expr: input(0) }, inputs: [from.operand], output: to.operand, capabilities },
      inputs: [from.bound],
      epilogue: [],
      output: to.bound,
    }
  }
  return (node) => {
    const { op, attrs, inputs, epilogue, output } = node
    if (isJoin(node)) {
      const parts = copiedParts(node, memory.views)
      if (op.name === 'joinRows' || parts.length < inputs.length) return parts.map((part) => copy(node, part))
    }
    const others = epilogue?.inputs ?? []
    const all = bind([...inputs, ...others, output].map(whole))
    const [first, rest, [last]] = [
      all.slice(0, inputs.length),
      all.slice(inputs.length, -1),
      all.slice(-1) as [Bound],
    ] as const
    const operands = (list: readonly Bound[]) => list.map(({ operand }) => operand)
    const bounds = (list: readonly Bound[]) => list.map(({ bound }) => bound)
    const request: Request<unknown> = {
      attrs,
      // Quantised are only weights of products and tables, their input 1.
      inputs: operands(first).map((each) =>
        isQuantised(each.storage) ? { ...each, quantised: quantisedLayout(node) } : each,
      ),
      output: last.operand,
      ...(epilogue && { epilogue: { expr: epilogue.expr, inputs: operands(rest) } }),
      capabilities,
    }
    const family = families[op.name as keyof typeof families] as Family<unknown>
    return [{ family, request, inputs: bounds(first), epilogue: bounds(rest), output: last.bound }]
  }
}

interface Bound {
  readonly operand: Operand
  readonly bound: BoundValue
}

interface Span {
  readonly start: number
  readonly end: number
}
