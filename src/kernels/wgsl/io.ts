// Operands as WGSL: one binding a slot, and functions that load and store four channels as vec4<f32> whatever the storage.
// Which operands a dispatch has is the family's choice; where their memory lies is the plan's.
import { PhospheneError } from '../../error.ts'
import { isQuantised, type QuantisedFormat } from '../../tensor/quantise.ts'
import type { BindingRole, Operand, Request, Storage } from '../family.ts'
import { sizeText } from './number.ts'
import { type QuantisedPlaces, quantisedAccessors } from './quantised.ts'

/** An operand under the name by which the text calls it. */
export interface NamedOperand {
  readonly name: string
  readonly operand: Operand
  readonly role: BindingRole
  /**
   * Bound as array<vec4<u32>>, two f16 groups an element, for 128-bit loads by the text itself (see `wideLoad`). Quantised ones
   * are bound as they always are. Not for outputs.
   */
  readonly wide?: boolean
  /** Where a quantised operand's scales are, where that comes from data. */
  readonly places?: QuantisedPlaces
}

/** A scratch buffer of the kernel, bound read_write and indexed by the text itself: `name[i]`. */
export interface NamedScratch {
  readonly name: string
  readonly index: number
  readonly element: 'f32' | 'u32' | 'vec4<f32>' | 'vec4<f16>' | 'vec2<u32>' | 'vec4<u32>'
}

/** Numbers that come from data rather than from the text: `sizes.name`, a u32. */
export interface NamedConstants {
  readonly fields: readonly string[]
  /** Which of the kernel's `constants` holds their values, in this order. */
  readonly index: number
}

export interface Io {
  /** `enable` lines; they must come first in the module. */
  readonly enables: string
  /** Bindings and accessors. */
  readonly text: string
  readonly bindings: readonly BindingRole[]
  /** The variable that holds each operand (operands of one slot share it). */
  readonly variable: Readonly<Record<string, string>>
}

/** Element type of the binding that holds an operand. */
export const elementType: Readonly<Record<Storage, string>> = {
  f32: 'vec4<f32>',
  f16: 'vec4<f16>',
  'f16-packed': 'vec2<u32>',
  int: 'u32',
  int8: 'u32',
  int4: 'u32',
}

/** Bytes of four channels (of quantised ones without their scales), or of one integer. */
export const elementBytes: Readonly<Record<Storage, number>> = {
  ...{ f32: 16, f16: 8, 'f16-packed': 8, int: 4, int8: 4, int4: 2 },
}

/** Element `i` (an expression) of a wide operand: eight channels as halves. */
export function wideLoad(name: string, { storage }: Operand, i: string): string {
  return isQuantised(storage) ? `units_${name}(${i})` : `buffer_${name}[${i}]`
}

/** What stages a weight through workgroup memory or registers gets quantised ones as f32, others as they are stored. */
export function stagedStorage({ storage }: Operand): Storage {
  return isQuantised(storage) ? 'f32' : storage
}

type PlainStorage = Exclude<Storage, QuantisedFormat>

/** Four channels as they are stored (an expression) as vec4<f32>. */
export function asF32(storage: Storage, element: string): string {
  return toF32[storage as PlainStorage](element)
}

/** A vec4<f32> (an expression that is read once for each half) as it is stored. */
export function asStored(storage: Storage, value: string): string {
  return fromF32[storage as PlainStorage](value)
}

const toF32: Readonly<Record<PlainStorage, (element: string) => string>> = {
  f32: (e) => e,
  f16: (e) => `vec4<f32>(${e})`,
  'f16-packed': (e) => `unpackHalves(${e})`,
  int: (e) => e,
}

const fromF32: Readonly<Record<PlainStorage, (value: string) => string>> = {
  f32: (v) => v,
  f16: (v) => `vec4<f16>(${v})`,
  'f16-packed': (v) => `vec2<u32>(pack2x16float(${v}.xy), pack2x16float(${v}.zw))`,
  int: (v) => v,
}

const unpackHalves = `fn unpackHalves(e: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(e.x), unpack2x16float(e.y));
}`

/** A request's operands: inputs under `names`, epilogue inputs as e0, e1, …, the output as y. */
export function requestOperands<A>(request: Request<A>, names: readonly string[]): NamedOperand[] {
  return [
    ...request.inputs.map((operand, index) => ({
      name: names[index]!,
      operand,
      role: { kind: 'input', index } as const,
    })),
    ...(request.epilogue?.inputs ?? []).map((operand, index) => ({
      name: `e${index}`,
      operand,
      role: { kind: 'epilogue', index } as const,
    })),
    { name: 'y', operand: request.output, role: { kind: 'output' } },
  ]
}

/** How many storage bindings a request takes (operands of one slot share one). */
export function bindingCount<A>(request: Request<A>): number {
  return new Set(requestOperands(request, []).map((o) => o.operand.slot)).size
}

/** Whether the request's bindings fit the device and its storages are available there. */
export function bindable<A>(request: Request<A>, scratch = 0): boolean {
  const { limits, shaderF16 } = request.capabilities
  return (
    bindingCount(request) + scratch <= limits.maxStorageBuffersPerShaderStage &&
    (shaderF16 || requestOperands(request, []).every((o) => o.operand.storage !== 'f16'))
  )
}

/**
 * Bindings and accessors. For an operand x, in elements of four channels:
 * `at_x(i)` the element i after its offset; `load_x(row, group)`; and for outputs `set_x(i, v)`, `store_x(row, group, v)`,
 * which zeroes the channels beyond the last. 'int' operands: `at_x(i) -> u32`.
 */
export function ioText(
  operands: readonly NamedOperand[],
  scratch: readonly NamedScratch[] = [],
  constants?: NamedConstants,
): Io {
  const slots = new Map<number, NamedOperand[]>()
  for (const named of operands) {
    const shared = slots.get(named.operand.slot) ?? []
    shared.push(named)
    slots.set(named.operand.slot, shared)
  }
  const bindings: BindingRole[] = []
  const variable: Record<string, string> = {}
  const lines: string[] = []
  const wideSlots = new Set<number>()
  for (const shared of slots.values()) {
    const [first] = shared as [NamedOperand]
    const { storage } = first.operand
    if (shared.some((o) => o.operand.storage !== storage)) {
      throw new PhospheneError({
        code: 'internal',
        message: `operands ${shared.map((o) => `${o.name} (${o.operand.storage})`).join(', ')} share slot ${first.operand.slot}`,
        fix: 'Report this with the command that led here; it is a fault of the engine.',
      })
    }
    const access = shared.every((o) => o.operand.space === 'weight') ? 'read' : 'read_write'
    const name = `buffer_${first.name}`
    const wide = shared.some((o) => o.wide)
    lines.push(
      declaration(bindings.length, access, name, wide && !isQuantised(storage) ? 'vec4<u32>' : elementType[storage]),
    )
    if (wide) wideSlots.add(first.operand.slot)
    bindings.push(first.role)
    for (const o of shared) variable[o.name] = name
  }
  for (const { name, index, element } of scratch) {
    lines.push(declaration(bindings.length, 'read_write', name, element))
    bindings.push({ kind: 'scratch', index })
  }
  if (constants) {
    lines.push(`struct Sizes { ${constants.fields.map((name) => `${name}: u32`).join(', ')} }`)
    lines.push(`@group(0) @binding(${bindings.length}) var<uniform> sizes: Sizes;`)
    bindings.push({ kind: 'constant', index: constants.index })
  }
  const packed = operands.some((o) => o.operand.storage === 'f16-packed')
  const f16 = operands.some((o) => o.operand.storage === 'f16') || scratch.some((s) => s.element === 'vec4<f16>')
  return {
    enables: f16 ? 'enable f16;\n' : '',
    text: [
      ...lines,
      ...(packed ? [unpackHalves] : []),
      ...operands.map((o) => accessors(o, variable[o.name]!, wideSlots.has(o.operand.slot))),
    ].join('\n'),
    bindings,
    variable,
  }
}

function declaration(binding: number, access: string, name: string, element: string): string {
  return `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${element}>;`
}

function accessors(named: NamedOperand, variable: string, wide: boolean): string {
  const { name, operand, role } = named
  const { storage, offset4, stride4, channels } = operand
  if (isQuantised(storage)) return quantisedAccessors(name, operand, variable, { wide, ...named.places })
  const place = offset4 === 0 ? 'i' : `${sizeText(offset4)} + i`
  const value = storage === 'int' ? 'u32' : 'vec4<f32>'
  const element = wide
    ? `bitcast<vec4<f16>>(select(${variable}[(${place}) / 2u].xy, ${variable}[(${place}) / 2u].zw, (${place}) % 2u == 1u))`
    : `${variable}[${place}]`
  const lines = [`fn at_${name}(i: u32) -> ${value} { return ${toF32[storage](element)}; }`]
  const rowMajor = `row * ${sizeText(stride4)} + group`
  if (storage !== 'int') {
    lines.push(`fn load_${name}(row: u32, group: u32) -> vec4<f32> { return at_${name}(${rowMajor}); }`)
  }
  if (role.kind === 'output') {
    lines.push(`fn set_${name}(i: u32, v: ${value}) { ${variable}[${place}] = ${fromF32[storage]('v')}; }`)
    const rest = channels % 4
    const kept = ['v.x', 'v.y', 'v.z'].map((lane, i) => (i < rest ? lane : '0.0')).join(', ')
    const last = sizeText(Math.floor(channels / 4))
    const stored = rest === 0 ? 'v' : `select(v, vec4<f32>(${kept}, 0.0), group == ${last})`
    if (storage !== 'int') {
      lines.push(`fn store_${name}(row: u32, group: u32, v: vec4<f32>) { set_${name}(${rowMajor}, ${stored}); }`)
    }
  }
  return lines.join('\n')
}
