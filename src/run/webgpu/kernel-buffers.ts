// Buffers in which one request can be computed by any of several kernels: as large as the neediest wants them, filled with small
// numbers, in no order that a memory could profit from.
import type { Device } from '../../device/device.ts'
import type { Choice } from '../../kernels/choose.ts'
import type { BindingRole, Operand, Request, Storage } from '../../kernels/family.ts'
import { quantisedBytes } from '../../kernels/wgsl/quantised.ts'
import { groupBytes } from '../../plan/layout.ts'
import { isQuantised } from '../../tensor/quantise.ts'

const usage = { storage: 0x80 | 0x08 | 0x04, uniform: 0x40 | 0x08 } // STORAGE|COPY_DST|COPY_SRC, UNIFORM|COPY_DST

export interface KernelBuffers {
  /** What a kernel's binding gets. */
  bound(choice: Choice, role: BindingRole): GPUBuffer
  dispose(): void
}

interface Wanted {
  readonly bytes: number
  /** Undefined for scratch. */
  readonly storage?: Storage
}

/** Raises 'device/out-of-memory' and 'plan/too-large'. */
export async function kernelBuffers(
  device: Device,
  request: Request<unknown>,
  choices: readonly Choice[],
): Promise<KernelBuffers> {
  const wanted = wantedBuffers(request, choices)
  const names = [...wanted.keys()]
  const made = await device.allocate(
    'measuring kernels',
    usage.storage,
    names.map((label) => ({ label, bytes: wanted.get(label)!.bytes })),
  )
  const buffers = new Map(names.map((name, i) => [name, made[i]!]))
  const constants = new Map<readonly number[], GPUBuffer>()
  for (const values of choices.flatMap(({ kernel }) => kernel.constants ?? [])) {
    const buffer = device.buffer('constants', values.length * 4, usage.uniform)
    device.gpu.queue.writeBuffer(buffer, 0, Uint32Array.from(values))
    constants.set(values, buffer)
  }
  fill(
    device,
    [...buffers].map(([name, buffer]) => ({ buffer, storage: wanted.get(name)!.storage })),
  )
  return {
    bound: ({ kernel }, role) =>
      role.kind === 'constant' ? constants.get(kernel.constants![role.index]!)! : buffers.get(nameOf(request, role))!,
    dispose() {
      for (const buffer of [...buffers.values(), ...constants.values()]) device.free(buffer)
    },
  }
}

/** Bytes of the buffers that are no weights. */
export function workingBytes(request: Request<unknown>, choices: readonly Choice[]): number {
  const weights = new Set(request.inputs.filter(({ space }) => space === 'weight').map(({ slot }) => `slot ${slot}`))
  return [...wantedBuffers(request, choices)].reduce(
    (sum, [name, { bytes }]) => sum + (weights.has(name) ? 0 : bytes),
    0,
  )
}

function wantedBuffers(request: Request<unknown>, choices: readonly Choice[]): ReadonlyMap<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  const want = (name: string, bytes: number, storage?: Storage) =>
    wanted.set(name, { bytes: Math.max(bytes, wanted.get(name)?.bytes ?? 0), ...(storage && { storage }) })
  for (const choice of choices)
    for (const role of choice.kernel.dispatches.flatMap(({ bindings }) => bindings)) {
      if (role.kind === 'constant') continue
      if (role.kind === 'scratch') {
        want(nameOf(request, role), choice.kernel.scratch[role.index]!)
        continue
      }
      const operand = operandOf(request, role)
      want(nameOf(request, role), operandBytes(operand, choice, role), operand.storage)
    }
  return wanted
}

function nameOf(request: Request<unknown>, role: BindingRole): string {
  return role.kind === 'scratch' ? `scratch ${role.index}` : `slot ${operandOf(request, role).slot}`
}

function operandOf({ inputs, epilogue, output }: Request<unknown>, role: BindingRole): Operand {
  if (role.kind === 'input') return inputs[role.index]!
  return role.kind === 'epilogue' ? epilogue!.inputs[role.index]! : output
}

function operandBytes(operand: Operand, choice: Choice, role: BindingRole): number {
  const { storage, quantised, rows, stride4, groups4, offset4, space } = operand
  if (isQuantised(storage)) return quantisedBytes(storage, quantised!)
  const prepared = space === 'weight' && role.kind === 'input' ? choice.prepared(role.index) : undefined
  const groups = prepared ? prepared.elements / 4 : offset4 + (rows - 1) * stride4 + groups4
  return groups * groupBytes[storage]
}

const patternBytes = 2 ** 20

/** Copies a pattern of numbers between −¼ and ¼ into all but indices, which stay 0, and scratch. */
function fill(
  device: Device,
  targets: readonly { readonly buffer: GPUBuffer; readonly storage: Storage | undefined }[],
) {
  const encoder = device.gpu.createCommandEncoder()
  const patterns: GPUBuffer[] = []
  for (const isWide of [true, false]) {
    const these = targets.filter(({ storage }) => storage && storage !== 'int' && (storage === 'f32') === isWide)
    if (these.length === 0) continue
    const bytes = Math.min(patternBytes, Math.max(...these.map(({ buffer }) => buffer.size)))
    const pattern = device.buffer('pattern', bytes, usage.storage)
    patterns.push(pattern)
    device.gpu.queue.writeBuffer(pattern, 0, isWide ? wideNumbers(bytes / 4) : halves(bytes / 2))
    for (const { buffer } of these)
      for (let at = 0; at < buffer.size; at += bytes)
        encoder.copyBufferToBuffer(pattern, 0, buffer, at, Math.min(bytes, buffer.size - at))
  }
  device.gpu.queue.submit([encoder.finish()])
  for (const pattern of patterns) device.free(pattern)
}

function* numbers(): Generator<number, never> {
  for (let state = 1; ; state = (Math.imul(state, 1664525) + 1013904223) >>> 0) yield state
}

function wideNumbers(count: number): Float32Array<ArrayBuffer> {
  const random = numbers()
  return Float32Array.from({ length: count }, () => random.next().value / 2 ** 33 - 0.25)
}

/** Bits of f16 between 2⁻⁵ and ¼, of either sign: finite as scales of quantised weights too, among whatever integers they make. */
function halves(count: number): Uint16Array<ArrayBuffer> {
  const random = numbers()
  return Uint16Array.from({ length: count }, () => {
    const bits = random.next().value >>> 16
    return (bits & 0x8000) | (0x2800 + ((bits & 0x7fff) % 0x0c00))
  })
}
