// A WebGPU device as the engine uses it: buffers counted by the byte, pipelines cached by their WGSL text, errors with
// code and fix. How an adapter is found is node.ts's and browser.ts's business.
import { PhospheneError } from '../error.ts'
import { inTurns } from './turns.ts'

/** Shape that the adapter's matrix units multiply with f16 inputs. */
export interface DeviceMatrixShape {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly result: 'f16' | 'f32'
}

export interface DeviceDescription {
  readonly name: string
  readonly vendor: string
  readonly architecture: string
  readonly kind: 'gpu' | 'software'
  /** Set for lavapipe (Mesa's llvmpipe), which kernels treat apart from other software adapters. */
  readonly driver: 'lavapipe' | undefined
  readonly shaderF16: boolean
  readonly subgroups: boolean
  readonly subgroupSize: readonly [number, number]
  readonly timestamps: boolean
  readonly matrixShapes: readonly DeviceMatrixShape[]
}

/** Features that are asked for wherever the adapter has them; the engine works without any. */
const wantedFeatures = [
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
  'subgroup-size-control',
]

/** Limits that are raised to what the adapter offers. */
const raisedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxStorageBuffersPerShaderStage',
] as const

/**
 * Kernels that are compiled at once. Dawn has two threads for it (webgpu 0.6.2): a GPU's driver gets some more to choose from, so
 * that these never wait for the host, but not all, since each holds memory from its turn on. SwiftShader spreads one kernel over
 * the cores by itself: all at once take twice the memory of one after the other, and as long.
 */
const compiledAtOnce = { gpu: 32, software: 1 } as const

export class Device {
  readonly gpu: GPUDevice
  readonly description: DeviceDescription
  /** Bytes of buffers alive. */
  bufferBytes = 0
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>()
  private readonly layouts = new Map<string, GPUBindGroupLayout>()
  private readonly layoutOfText = new Map<string, GPUBindGroupLayout>()
  private readonly compileTurn: <T>(task: () => Promise<T>) => Promise<T>
  private readonly buffers = new Map<GPUBuffer, number>()
  private lostInfo: GPUDeviceLostInfo | undefined
  private destroyed = false
  private readonly release: () => void

  constructor(gpu: GPUDevice, description: DeviceDescription, release: () => void) {
    this.gpu = gpu
    this.description = description
    this.release = release
    this.compileTurn = inTurns(compiledAtOnce[description.kind])
    gpu.lost.then((info) => {
      this.lostInfo = info
    })
  }

  get limits(): GPUSupportedLimits {
    return this.gpu.limits
  }

  /** Raises 'device/lost' once the device is gone. */
  assertAlive(): void {
    if (this.destroyed || this.lostInfo)
      throw new PhospheneError({
        code: 'device/lost',
        message: `${this.description.name}: the device was lost${this.lostInfo?.message ? ` (${this.lostInfo.message.trim()})` : ''}`,
        fix: 'Open the pipeline again; if it happens again, draw a smaller picture or update the GPU driver.',
      })
  }

  /** A buffer of `size` bytes (rounded up to 4), counted until it is freed. */
  buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.assertAlive()
    const bytes = Math.max(4, Math.ceil(size / 4) * 4)
    if (bytes > this.limits.maxBufferSize)
      throw new PhospheneError({
        code: 'plan/too-large',
        message: `${label} needs a buffer of ${bytes} bytes; ${this.description.name} allows ${this.limits.maxBufferSize}`,
        fix: 'Draw a smaller picture.',
      })
    const buffer = this.gpu.createBuffer({ label, size: bytes, usage })
    this.buffers.set(buffer, bytes)
    this.bufferBytes += bytes
    return buffer
  }

  free(buffer: GPUBuffer): void {
    const bytes = this.buffers.get(buffer)
    if (bytes === undefined) return
    this.buffers.delete(buffer)
    this.bufferBytes -= bytes
    buffer.destroy()
  }

  /** Buffers of one kind, all of them or none. Raises 'device/out-of-memory' naming `what`, and what `buffer` raises. */
  async allocate(
    what: string,
    usage: GPUBufferUsageFlags,
    wanted: readonly { readonly label: string; readonly bytes: number }[],
  ): Promise<GPUBuffer[]> {
    this.assertAlive()
    const made: GPUBuffer[] = []
    const free = () => {
      for (const buffer of made) this.free(buffer)
    }
    // Error scopes are a stack: this one is closed before anyone else can open theirs, and its answer awaited afterwards.
    this.gpu.pushErrorScope('out-of-memory')
    let scope: Promise<GPUError | null>
    try {
      for (const { label, bytes } of wanted) made.push(this.buffer(label, bytes, usage))
    } catch (error) {
      free()
      throw error
    } finally {
      scope = this.gpu.popErrorScope()
      scope.catch(() => {}) // a lost device is found below, or by whoever comes next
    }
    const error = await scope
    if (!error) return made
    const inUse = this.bufferBytes
    free()
    throw new PhospheneError({
      code: 'device/out-of-memory',
      message: `${this.description.name} is out of memory for ${what} (${inUse} bytes in use): ${error.message.split('\n')[0]}`,
      fix: 'Draw a smaller picture, use --dtype f16, or close other programs that use the GPU.',
    })
  }

  /** The pipeline of this text; compiled once. Raises 'device/shader' with the line that failed. */
  pipeline(wgsl: string, label: string): Promise<GPUComputePipeline> {
    const known = this.pipelines.get(wgsl)
    if (known) return known
    const compiled = this.compileTurn(() => this.compile(wgsl, label))
    this.pipelines.set(wgsl, compiled)
    return compiled
  }

  /** The bind group layout that the text declares. */
  layout(wgsl: string): GPUBindGroupLayout {
    const known = this.layoutOfText.get(wgsl)
    if (known) return known
    const declared = [...wgsl.matchAll(/@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read|read_write))?>/g)]
    const types = declared.map((d): [number, GPUBufferBindingType] => [
      Number(d[1]),
      d[2] === 'uniform' ? 'uniform' : d[3] === 'read_write' ? 'storage' : 'read-only-storage',
    ])
    const key = types.map(([binding, type]) => `${binding}:${type}`).join(' ')
    let layout = this.layouts.get(key)
    if (!layout) {
      layout = this.gpu.createBindGroupLayout({
        entries: types.map(([binding, type]) => ({ binding, visibility: 4, buffer: { type } })),
      })
      this.layouts.set(key, layout)
    }
    this.layoutOfText.set(wgsl, layout)
    return layout
  }

  private async compile(wgsl: string, label: string): Promise<GPUComputePipeline> {
    this.assertAlive()
    const module = this.gpu.createShaderModule({ label, code: wgsl })
    try {
      return await this.gpu.createComputePipelineAsync({
        label,
        layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.layout(wgsl)] }),
        compute: { module, entryPoint: 'main' },
      })
    } catch (cause) {
      this.assertAlive()
      const info = await module.getCompilationInfo()
      const first = info.messages.find((m) => m.type === 'error')
      const lines = wgsl.split('\n')
      const around = first ? lines.slice(Math.max(0, first.lineNum - 3), first.lineNum + 2).join('\n') : ''
      throw new PhospheneError(
        {
          code: 'device/shader',
          message: `kernel ${label} does not compile on ${this.description.name}: ${first ? `line ${first.lineNum}: ${first.message}\n${around}` : String(cause)}`,
          fix: 'This is a mistake in the engine or the driver; report it with the output of `phosphene doctor --json`.',
        },
        { cause },
      )
    }
  }

  /** Waits for everything submitted. Freed buffers return their memory only after a later submit (seen in Dawn). */
  async settle(): Promise<void> {
    this.gpu.queue.submit([])
    await this.gpu.queue.onSubmittedWorkDone()
    this.assertAlive()
  }

  /** Destroys the device and everything on it. */
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.gpu.destroy()
    this.buffers.clear()
    this.bufferBytes = 0
    this.release()
  }
}

interface AdapterInfoExtras {
  readonly isFallbackAdapter?: boolean
  readonly subgroupMinSize?: number
  readonly subgroupMaxSize?: number
  readonly subgroupMatrixConfigs?: readonly {
    readonly componentType: string
    readonly resultComponentType: string
    readonly M: number
    readonly N: number
    readonly K: number
  }[]
}

/** What people and kernels need to know about an adapter. */
export function describe(adapter: GPUAdapter, fallbackName: string): DeviceDescription {
  const info = adapter.info as GPUAdapterInfo & AdapterInfoExtras
  const software =
    (info.isFallbackAdapter ?? false) ||
    /swiftshader|llvmpipe|software/i.test(`${info.architecture} ${info.description}`)
  // Browsers leave the description empty.
  const lavapipe = /llvmpipe/i.test(info.description) || (info.vendor === 'mesa' && info.architecture === 'software')
  return {
    name: info.description || info.device || `${info.vendor} ${info.architecture}`.trim() || fallbackName,
    vendor: info.vendor,
    architecture: info.architecture,
    kind: software ? 'software' : 'gpu',
    driver: lavapipe ? 'lavapipe' : undefined,
    shaderF16: adapter.features.has('shader-f16'),
    subgroups: adapter.features.has('subgroups'),
    subgroupSize: [info.subgroupMinSize ?? 4, info.subgroupMaxSize ?? 128],
    timestamps: adapter.features.has('timestamp-query'),
    matrixShapes: (info.subgroupMatrixConfigs ?? [])
      .filter((c) => c.componentType === 'f16' && (c.resultComponentType === 'f16' || c.resultComponentType === 'f32'))
      .map((c) => ({ m: c.M, n: c.N, k: c.K, result: c.resultComponentType as 'f16' | 'f32' })),
  }
}

/** A device with every feature and limit that the engine can use. `release` runs when it is destroyed. */
export async function deviceFrom(
  adapter: GPUAdapter,
  description: DeviceDescription,
  release: () => void,
): Promise<Device> {
  const requiredFeatures = wantedFeatures.filter((f) => adapter.features.has(f)) as GPUFeatureName[]
  const requiredLimits = Object.fromEntries(raisedLimits.map((name) => [name, adapter.limits[name]]))
  const gpu = await adapter.requestDevice({ requiredFeatures, requiredLimits })
  return new Device(gpu, description, release)
}
