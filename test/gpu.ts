// Kernels on a real adapter, for tests: Dawn on the SwiftShader that @sparticuz/chromium carries, and Dawn's null backend,
// which checks text (f16 and subgroup matrices included) without running it. Of the engine's device code
// only the unpacking of SwiftShader is used.
import { create, globals } from 'webgpu'
import { loadVulkanLoader, swiftshaderManifest } from '../src/device/swiftshader.ts'
import type {
  BindingRole,
  Capabilities,
  Kernel,
  Limits,
  Operand,
  PreparedWeight,
  Request,
  Storage,
} from '../src/kernels/family.ts'
import { elementBytes } from '../src/kernels/wgsl/io.ts'
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.ts'

Object.assign(globalThis, globals)

// Dawn crashes when the object that create() returns is collected while its device lives.
const kept: GPU[] = []

/** SwiftShader for every instance of this process. */
function loadSwiftShader(): void {
  const manifest = swiftshaderManifest()
  if (!manifest) throw new Error('@sparticuz/chromium, which carries SwiftShader, is not installed')
  process.env.VK_ICD_FILENAMES = manifest
  process.env.VK_DRIVER_FILES = manifest
  loadVulkanLoader(manifest)
}

async function open(flags: string[], features: readonly string[]): Promise<GPUDevice> {
  const gpu = create(flags)
  kept.push(gpu)
  const adapter = await gpu.requestAdapter()
  if (!adapter) throw new Error(`no adapter for create(${JSON.stringify(flags)})`)
  const requiredLimits = Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]]))
  const requiredFeatures = features.filter((f) => adapter.features.has(f)) as GPUFeatureName[]
  return adapter.requestDevice({ requiredLimits, requiredFeatures })
}

const limitNames = [
  'maxBufferSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
] as const

let software: Promise<GPUDevice> | undefined
let nothing: Promise<GPUDevice> | undefined

/** A device on SwiftShader. */
export function softwareDevice(): Promise<GPUDevice> {
  software ??= (async () => {
    loadSwiftShader()
    return open([], ['subgroups', 'timestamp-query'])
  })()
  return software
}

const softwareLimits: Limits = {
  maxComputeWorkgroupStorageSize: 32768,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  maxStorageBufferBindingSize: 2 ** 30,
  maxStorageBuffersPerShaderStage: 10,
}

/** What SwiftShader offers. */
export const softwareCapabilities: Capabilities = {
  limits: softwareLimits,
  shaderF16: false,
  subgroups: true,
  subgroupSize: [4, 4],
  matrixShapes: [],
  kind: 'software',
}

/** What lavapipe offers. */
export const lavapipeCapabilities: Capabilities = {
  ...softwareCapabilities,
  shaderF16: true,
  subgroupSize: [8, 8],
  driver: 'lavapipe',
}

/** A full-blown GPU (matrix units, f16), for text that only the null backend sees. */
export const gpuCapabilities: Capabilities = {
  limits: { ...softwareLimits, maxComputeWorkgroupStorageSize: 49152, maxComputeInvocationsPerWorkgroup: 1024 },
  shaderF16: true,
  subgroups: true,
  subgroupSize: [32, 32],
  matrixShapes: [
    { m: 16, n: 16, k: 16, result: 'f16' },
    { m: 16, n: 16, k: 16, result: 'f32' },
  ],
  kind: 'gpu',
}

/** A device that validates everything and computes nothing. */
export function nullDevice(): Promise<GPUDevice> {
  nothing ??= open(
    ['backend=null', 'enable-dawn-features=allow_unsafe_apis'],
    ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'],
  )
  return nothing
}

/**
 * Compiles the text on Dawn's null backend, pipeline included; the error messages, none when it is sound. The null adapter has
 * 16 KiB of workgroup storage whatever a GPU has: text that needs more is held against `gpuCapabilities` instead.
 */
export async function validateOnNull(wgsl: string): Promise<string[]> {
  const device = await nullDevice()
  device.pushErrorScope('validation')
  const module = device.createShaderModule({ code: wgsl })
  const info = await module.getCompilationInfo()
  device.createComputePipeline({ layout: 'auto', compute: { module } })
  const error = await device.popErrorScope()
  const messages = info.messages.filter((m) => m.type === 'error').map((m) => `${m.lineNum}:${m.linePos} ${m.message}`)
  const storage = Number(error?.message.match(/total use of workgroup storage \((\d+) bytes\)/)?.[1] ?? Infinity)
  if (storage <= gpuCapabilities.limits.maxComputeWorkgroupStorageSize) return messages
  return error && messages.length === 0 ? [error.message] : messages
}

/** An operand with the fields that shape and storage determine filled in. */
export function operand(fields: Partial<Operand> & Pick<Operand, 'shape' | 'slot'>): Operand {
  const channels = fields.shape[fields.shape.length - 1] ?? 1
  const groups4 = Math.ceil(channels / 4)
  const rows = fields.shape.slice(0, -1).reduce((a, b) => a * b, 1)
  return { storage: 'f32', rows, channels, groups4, stride4: groups4, offset4: 0, space: 'arena', ...fields }
}

/** What a storage keeps of the values: for f16, the nearest halves. */
export function stored(values: Float32Array, storage: Storage): Float32Array {
  return storage === 'f16' || storage === 'f16-packed' ? f16ToF32(f32ToF16(values)) : values
}

export interface KernelData {
  readonly inputs: readonly (Float32Array | Uint32Array)[]
  readonly epilogue?: readonly Float32Array[]
  /** What the variant's `prepare` says of weight input `index`. */
  readonly prepare?: (index: number) => PreparedWeight | undefined
}

/** A kernel laid out in buffers and compiled. */
export interface PreparedKernel {
  /** Dispatches everything once and waits. */
  run(): Promise<void>
  /** The output, logical elements only. Throws where pad channels are not zero or memory between rows was touched. */
  read(): Promise<Float32Array>
  destroy(): void
  readonly compileMs: number
}

const filler = 0x7e // bytes of memory that nobody has written: large in f32, NaN in f16

/** Compiles and runs a kernel on SwiftShader; the output's logical elements. */
export async function runKernel<A>(
  kernel: Kernel,
  request: Request<A>,
  data: KernelData,
  compiled?: CompiledTexts,
): Promise<Float32Array> {
  const prepared = await prepareKernel(kernel, request, data, compiled)
  try {
    await prepared.run()
    return await prepared.read()
  } finally {
    prepared.destroy()
  }
}

/** Pipelines by their text: dispatches that share one compile it once, and so do kernels that are handed the same map. */
export type CompiledTexts = Map<string, { readonly pipeline: GPUComputePipeline; readonly layout: GPUBindGroupLayout }>

export async function prepareKernel<A>(
  kernel: Kernel,
  request: Request<A>,
  data: KernelData,
  compiled: CompiledTexts = new Map(),
): Promise<PreparedKernel> {
  const device = await softwareDevice()
  const { output } = request
  device.pushErrorScope('validation')
  const images = new Map<number, Uint8Array<ArrayBuffer>>()
  const place = (op: Operand, values?: Float32Array | Uint32Array, weight?: PreparedWeight) => {
    const size = weight ? (weight.elements / 4) * elementBytes[op.storage] : extent(op)
    const old = images.get(op.slot)
    const image = new Uint8Array(Math.max(size, old?.length ?? 0)).fill(filler)
    if (old) image.set(old)
    images.set(op.slot, image)
    if (values) writeOperand(image, op, values, weight)
  }
  request.inputs.forEach((op, i) => {
    place(op, data.inputs[i]!, op.space === 'weight' ? data.prepare?.(i) : undefined)
  })
  request.epilogue?.inputs.forEach((op, i) => {
    place(op, data.epilogue![i]!)
  })
  place(output)
  const before = images.get(output.slot)!.slice()
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const buffers = new Map<number, GPUBuffer>()
  for (const [slot, image] of images) {
    const buffer = device.createBuffer({ size: image.length, usage })
    device.queue.writeBuffer(buffer, 0, image)
    buffers.set(slot, buffer)
  }
  const scratch = kernel.scratch.map((size) => device.createBuffer({ size, usage }))
  const constants = (kernel.constants ?? []).map((values) => {
    const buffer = device.createBuffer({
      size: values.length * 4,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
    device.queue.writeBuffer(buffer, 0, Uint32Array.from(values))
    return buffer
  })
  const bufferOf = (role: BindingRole): GPUBuffer => {
    switch (role.kind) {
      case 'input':
        return buffers.get(request.inputs[role.index]!.slot)!
      case 'epilogue':
        return buffers.get(request.epilogue!.inputs[role.index]!.slot)!
      case 'output':
        return buffers.get(output.slot)!
      case 'scratch':
        return scratch[role.index]!
      case 'constant':
        return constants[role.index]!
    }
  }
  const start = performance.now()
  const steps = kernel.dispatches.map(({ label, wgsl, bindings, workgroups }) => {
    const entries = bindings.map((role, binding) => ({ binding, resource: { buffer: bufferOf(role) } }))
    const known = compiled.get(wgsl)
    if (known) return { ...known, group: device.createBindGroup({ layout: known.layout, entries }), workgroups }
    const module = device.createShaderModule({ label, code: wgsl })
    const layout = device.createBindGroupLayout({
      entries: bindings.map((_, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: bindingType(wgsl, binding) },
      })),
    })
    const pipeline = device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module },
    })
    compiled.set(wgsl, { pipeline, layout })
    return { pipeline, layout, group: device.createBindGroup({ layout, entries }), workgroups }
  })
  const failure = await device.popErrorScope()
  if (failure) throw new Error(failure.message)
  const compileMs = performance.now() - start
  return {
    compileMs,
    async run() {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      for (const { pipeline, group, workgroups } of steps) {
        pass.setPipeline(pipeline)
        pass.setBindGroup(0, group)
        pass.dispatchWorkgroups(...workgroups)
      }
      pass.end()
      device.queue.submit([encoder.finish()])
      await device.queue.onSubmittedWorkDone()
    },
    async read() {
      const size = before.length
      const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
      const encoder = device.createCommandEncoder()
      encoder.copyBufferToBuffer(buffers.get(output.slot)!, 0, staging, 0, size)
      device.queue.submit([encoder.finish()])
      await staging.mapAsync(GPUMapMode.READ)
      const after = new Uint8Array(staging.getMappedRange()).slice()
      staging.destroy()
      return readOperand(after, before, output)
    },
    destroy() {
      for (const buffer of [...buffers.values(), ...scratch, ...constants]) buffer.destroy()
    },
  }
}

function bindingType(wgsl: string, binding: number): GPUBufferBindingType {
  const kind = wgsl.match(new RegExp(`@binding\\(${binding}\\) var<([^>]*)>`))?.[1]
  return kind === 'uniform' ? 'uniform' : kind === 'storage, read' ? 'read-only-storage' : 'storage'
}

function extent(op: Operand): number {
  const bytes = elementBytes[op.storage]
  if (op.storage === 'int') return op.rows * op.channels * bytes
  return (op.offset4 + (op.rows - 1) * op.stride4 + op.groups4) * bytes
}

/** The scalars of a buffer in its storage. */
function scalars(bytes: Uint8Array, storage: Storage): Float32Array | Uint16Array | Uint32Array {
  const { buffer, byteOffset, byteLength } = bytes
  if (storage === 'f32') return new Float32Array(buffer, byteOffset, byteLength / 4)
  if (storage === 'int') return new Uint32Array(buffer, byteOffset, byteLength / 4)
  return new Uint16Array(buffer, byteOffset, byteLength / 2)
}

function writeOperand(
  image: Uint8Array,
  op: Operand,
  values: Float32Array | Uint32Array,
  weight?: PreparedWeight,
): void {
  const target = scalars(image, op.storage)
  if (op.storage === 'int') {
    target.set(values)
    return
  }
  const source = op.storage === 'f32' ? (values as Float32Array) : f32ToF16(values as Float32Array)
  if (weight) {
    weight.pack(source, target as Float32Array | Uint16Array)
    return
  }
  for (let row = 0; row < op.rows; row++) {
    const at = (op.offset4 + row * op.stride4) * 4
    target.fill(0, at, at + op.groups4 * 4)
    target.set(source.subarray(row * op.channels, (row + 1) * op.channels), at)
  }
}

function readOperand(after: Uint8Array, before: Uint8Array, op: Operand): Float32Array {
  const all = scalars(after, op.storage)
  const old = scalars(before, op.storage)
  const raw = new (op.storage === 'f32' ? Float32Array : Uint16Array)(op.rows * op.channels)
  for (let row = 0; row < op.rows; row++) {
    const at = (op.offset4 + row * op.stride4) * 4
    raw.set(all.subarray(at, at + op.channels), row * op.channels)
    for (let c = op.channels; c < op.groups4 * 4; c++) {
      if (all[at + c] !== 0) throw new Error(`pad channel ${c} of row ${row} holds ${all[at + c]}`)
    }
    for (let c = op.groups4 * 4; row + 1 < op.rows && c < op.stride4 * 4; c++) {
      if (!Object.is(all[at + c], old[at + c])) throw new Error(`element ${c} beyond row ${row} was overwritten`)
    }
  }
  return raw instanceof Float32Array ? raw : f16ToF32(raw)
}
