// Attention on matrix units: every text on the null backend; numbers with the units emulated on SwiftShader; and on the units
// themselves where an adapter has them. Emulated, each case meets one tuning, another each time (thinning.ts): all of them with
// every case are bench/gpu/kernels.ts's, on a GPU.

import { describe, expect, test } from 'vitest'
import { create } from 'webgpu'
import { binary, input } from '../src/graph/expr.ts'
import { attentionFamily } from '../src/kernels/attention/family.ts'
import { subgroupMatrixAttention } from '../src/kernels/attention/subgroup-matrix.ts'
import { workgroupBytes } from '../src/kernels/attention/subgroup-matrix-text.ts'
import { chooseVariant } from '../src/kernels/choose.ts'
import type { Capabilities, Kernel, Operand, Request } from '../src/kernels/family.ts'
import { attentionOp } from '../src/ops/attention.ts'
import type { AttentionAttrs } from '../src/ops/attrs.ts'
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.ts'
import { emulatedKernel, workgroupMemory } from './emulated-matrices.ts'
import { gpuCapabilities, operand, runKernel, validateOnNull } from './gpu.ts'
import { everything } from './thinning.ts'

interface Sizes {
  readonly tq: number
  readonly tk: number
  readonly d: number
  readonly heads?: number
  readonly n?: number
  readonly causal?: true
  readonly scale?: number
  /** Keys grow by this factor to the last, so that references are raised on the way. */
  readonly ramp?: number
  /** q, k and v in one buffer, side by side. */
  readonly fused?: true
  readonly residual?: true
  readonly output?: 'f32' | 'f16'
}

const variant = subgroupMatrixAttention
const tunings = variant.tunings.gpu

function requestOf(sizes: Sizes, capabilities: Capabilities): Request<AttentionAttrs> {
  const {
    tq,
    tk,
    d,
    heads = 2,
    n = 1,
    causal = false,
    scale = 1 / Math.sqrt(d),
    fused,
    residual,
    output = 'f32',
  } = sizes
  const groups = (heads * d) / 4
  const place = (index: number): Operand =>
    operand({
      ...{ shape: [n, index === 0 ? tq : tk, heads * d], storage: 'f16' },
      ...(fused ? { slot: 0, stride4: 3 * groups + 2, offset4: index * groups + 2 } : { slot: index }),
    })
  return {
    attrs: { heads, scale, causal },
    inputs: [0, 1, 2].map(place),
    ...(residual
      ? {
          epilogue: {
            expr: binary('add', input(0), input(1)),
            inputs: [operand({ shape: [n, tq, heads * d], slot: 4 })],
          },
        }
      : {}),
    output: operand({ shape: [n, tq, heads * d], slot: 3, storage: output, stride4: groups + 1 }),
    capabilities,
  }
}

let seed = 5
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return (seed / 2 ** 31 - 1) * 1.5
}

/** Inputs that f16 holds exactly. */
function dataOf({ inputs }: Request<AttentionAttrs>, { ramp = 1, residual }: Sizes) {
  const values = inputs.map(({ rows, channels }, index) =>
    f16ToF32(
      f32ToF16(
        Float32Array.from({ length: rows * channels }, (_, i) => {
          const along = Math.floor(i / channels) / rows
          return random() * (index === 1 ? 1 + (ramp - 1) * along : 1)
        }),
      ),
    ),
  )
  const { rows, channels } = inputs[0]!
  return { inputs: values, epilogue: residual ? [Float32Array.from({ length: rows * channels }, random)] : [] }
}

type Data = ReturnType<typeof dataOf>

function expectClose(got: Float32Array, request: Request<AttentionAttrs>, data: Data, where: string): void {
  const tensors = data.inputs.map((values, i) => ({ shape: request.inputs[i]!.shape, data: Float64Array.from(values) }))
  const want = attentionOp.reference(tensors, request.attrs, { shape: request.output.shape, kind: 'float' })
  const [c, epsilon] =
    request.output.storage === 'f32' ? [variant.tolerance.f32, 2 ** -23] : [variant.tolerance.f16, 2 ** -10]
  let [worst, at] = [0, 0]
  got.forEach((value, i) => {
    const wanted = want.data[i]! + (data.epilogue[0]?.[i] ?? 0)
    const ratio = Math.abs(value - wanted) / (epsilon * (want.scale[i]! + Math.abs(data.epilogue[0]?.[i] ?? 0)) + 1e-30)
    if (!(ratio <= worst)) [worst, at] = [ratio, i]
  })
  if (process.env.PHOSPHENE_RATIOS) console.log(where, (worst / c).toFixed(3))
  expect(worst, `${where}: [${at}] ${got[at]} ≠ ${want.data[at]}`).toBeLessThanOrEqual(c)
}

describe('on the null backend', () => {
  for (const d of [40, 64, 80, 160])
    test(`every text of width ${d} compiles`, { timeout: 240_000 }, async () => {
      let [compiled, seen] = [0, new Set<unknown>()]
      for (const tq of [4096, 1024, 256, 64, 77, 1])
        for (const [tk, causal] of [[tq], [77], [tq, true]] as [number, true?][])
          for (const output of tq === 77 ? (['f16', 'f32'] as const) : (['f16'] as const)) {
            const fused = tk === tq && output === 'f16' ? { fused: true as const } : {}
            const request = requestOf(
              { tq, tk, d, heads: 8, n: 2, output, ...fused, ...(causal ? { causal } : { residual: true }) },
              gpuCapabilities,
            )
            for (const params of tunings) {
              if (!variant.supports(request, params)) continue
              const { wgsl, workgroups } = variant.emit(request, params).dispatches[0]!
              expect(Math.max(...workgroups)).toBeLessThanOrEqual(65535)
              const bytes = workgroupBytes(params, d)
              expect(workgroupMemory(wgsl)).toBeLessThanOrEqual(bytes)
              // The null backend has the least workgroup storage that WebGPU allows (what it counts must be what we count) and
              // subgroups of up to 128, which a workgroup on matrix units must fill.
              const messages = (await validateOnNull(wgsl)).filter((message) => {
                const counted = /total use of workgroup storage \((\d+) bytes\)/.exec(message)?.[1]
                if (counted !== undefined) return Number(counted) !== bytes
                return !(
                  params.subgroups < 4 && message.includes('must be a multiple of the device maxSubgroupSize (128)')
                )
              })
              expect(messages, `${JSON.stringify({ tq, tk, causal, params })}\n${wgsl}`).toEqual([])
              compiled++
              seen.add(params)
            }
          }
      expect(compiled).toBeGreaterThan(0)
      if (d === 40) expect(seen.size).toBe(tunings.length)
    })
})

const cases: readonly Sizes[] = [
  { tq: 70, tk: 77, d: 40, residual: true },
  { tq: 37, tk: 64, d: 24, n: 2, heads: 3 },
  { tq: 75, tk: 75, d: 24, causal: true },
  { tq: 66, tk: 150, d: 24, scale: 1, ramp: 8 },
  { tq: 33, tk: 33, d: 16, fused: true },
  { tq: 20, tk: 100, d: 8, heads: 5, scale: -1, ramp: 20 },
  { tq: 17, tk: 40, d: 80, ramp: 40, scale: 1 },
  { tq: 1, tk: 1, d: 64 },
]

test('agrees with the f64 reference, units emulated', { timeout: 600_000 }, async () => {
  const ran = new Set<unknown>()
  for (const [c, sizes] of cases.entries()) {
    const request = requestOf(sizes, gpuCapabilities)
    const data = dataOf(request, sizes)
    const fits = tunings
      .filter((params) => variant.supports(request, params))
      .map((params) => ({ params, kernel: emulatedKernel(variant.emit(request, params)) }))
      .filter(({ kernel }) => workgroupMemory(kernel.dispatches[0]!.wgsl) <= 32768)
    // One tuning a case, in turn: barriers are slow on SwiftShader.
    for (const { params, kernel } of everything ? fits : [fits[c % fits.length]!]) {
      expectClose(await runKernel(kernel, request, data), request, data, JSON.stringify({ sizes, params }))
      ran.add(params)
    }
  }
  expect(ran.size).toBeGreaterThanOrEqual(4)
})

test('is chosen where it pays, and only with matrices, f16 and memory of its own', () => {
  const chosen = (sizes: Sizes) =>
    chooseVariant(attentionFamily, requestOf({ heads: 8, n: 2, ...sizes }, gpuCapabilities)).variant
  for (const [tq, d] of [
    [4096, 40],
    [1024, 80],
    [256, 160],
  ] as [number, number][]) {
    expect(chosen({ tq, tk: tq, d })).toBe('subgroup-matrix')
    if (tq >= 1024) expect(chosen({ tq, tk: 77, d })).toBe('subgroup-matrix')
  }
  const request = requestOf({ tq: 256, tk: 256, d: 40 }, gpuCapabilities)
  const supported = (other: Partial<Request<AttentionAttrs>>) =>
    tunings.some((params) => variant.supports({ ...request, ...other }, params))
  const { output, inputs } = request
  expect(supported({})).toBe(true)
  expect(supported({ capabilities: { ...gpuCapabilities, matrixShapes: [] } })).toBe(false)
  expect(supported({ capabilities: { ...gpuCapabilities, subgroupSize: [16, 32] } })).toBe(false)
  expect(supported({ inputs: inputs.map((o) => ({ ...o, storage: 'f32' as const })) })).toBe(false)
  expect(supported({ inputs: inputs.map((o) => ({ ...o, offset4: 1 })) })).toBe(false)
  expect(supported({ output: { ...output, slot: 1 } })).toBe(false)
  expect(
    supported({
      attrs: { heads: 4, scale: 1, causal: false },
      inputs: inputs.map((o) => ({ ...o, shape: [1, 256, 48], channels: 48 })),
    }),
  ).toBe(false)
})

const matrixFeatures = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[]
interface MatrixInfo {
  readonly subgroupMinSize?: number
  readonly subgroupMaxSize?: number
  readonly subgroupMatrixConfigs?: Iterable<{
    componentType: string
    resultComponentType: string
    M: number
    N: number
    K: number
  }>
}

/** The machine's own adapter, if it has one, as kernels see it. */
async function ownAdapter() {
  const gpu = create(['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,disable_robustness'])
  const adapter = await gpu.requestAdapter().catch(() => null)
  if (!adapter) return undefined
  const info = adapter.info as MatrixInfo
  const capabilities: Capabilities = {
    limits: adapter.limits,
    shaderF16: adapter.features.has('shader-f16'),
    subgroups: adapter.features.has('subgroups'),
    subgroupSize: [info.subgroupMinSize ?? 4, info.subgroupMaxSize ?? 128],
    matrixShapes: [...(info.subgroupMatrixConfigs ?? [])]
      .filter((c) => c.componentType === 'f16')
      .map((c) => ({ m: c.M, n: c.N, k: c.K, result: c.resultComponentType as 'f16' | 'f32' })),
    kind: 'gpu',
  }
  return { gpu, adapter, capabilities }
}

test('agrees with the f64 reference on the matrix units of this machine, or is refused', {
  timeout: 600_000,
}, async () => {
  const own = await ownAdapter()
  const capabilities = own?.capabilities ?? { ...gpuCapabilities, shaderF16: false, matrixShapes: [] }
  const requested = (sizes: Sizes) => requestOf({ ...sizes, output: 'f16' }, capabilities)
  const able = tunings.some((params) => variant.supports(requested(cases[0]!), params))
  expect(able).toBe(
    capabilities.shaderF16 && capabilities.matrixShapes.some((s) => s.m === 16 && s.n === 16 && s.k === 16),
  )
  if (!own || !able) return
  const wanted = [
    'maxComputeInvocationsPerWorkgroup',
    'maxComputeWorkgroupSizeX',
    'maxComputeWorkgroupStorageSize',
  ] as const
  const device = await own.adapter.requestDevice({
    requiredFeatures: matrixFeatures,
    requiredLimits: Object.fromEntries(wanted.map((name) => [name, own.adapter.limits[name]])),
  })
  for (const sizes of [...cases, { tq: 1024, tk: 1024, d: 40 }, { tq: 256, tk: 256, d: 160 }]) {
    const request = requested(sizes)
    const data = dataOf(request, sizes)
    for (const params of tunings) {
      if (!variant.supports(request, params)) continue
      const got = await runOn(device, variant.emit(request, params), request, data)
      expectClose(got, request, data, JSON.stringify({ sizes, params }))
    }
  }
  device.destroy()
})

/** One dispatch with the request's buffers; the output's logical elements. */
async function runOn(device: GPUDevice, kernel: Kernel, request: Request<AttentionAttrs>, data: Data) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const bytes = (o: Operand) => (o.offset4 + o.rows * o.stride4) * (o.storage === 'f32' ? 16 : 8)
  const epilogue = request.epilogue?.inputs ?? []
  const sizes = new Map<number, number>()
  for (const o of [...request.inputs, ...epilogue, request.output])
    sizes.set(o.slot, Math.max(sizes.get(o.slot) ?? 0, bytes(o)))
  const images = new Map([...sizes].map(([slot, size]) => [slot, new Uint16Array(Math.ceil(size / 16) * 8)]))
  const write = (o: Operand, values: Float32Array) => {
    const image = images.get(o.slot)!
    const [target, source] = o.storage === 'f32' ? [new Float32Array(image.buffer), values] : [image, f32ToF16(values)]
    for (let r = 0; r < o.rows; r++)
      target.set(source.subarray(r * o.channels, (r + 1) * o.channels), (o.offset4 + r * o.stride4) * 4)
  }
  request.inputs.forEach((o, i) => {
    write(o, data.inputs[i]!)
  })
  epilogue.forEach((o, i) => {
    write(o, data.epilogue[i]!)
  })
  const buffers = new Map(
    [...images].map(([slot, image]) => {
      const buffer = device.createBuffer({ size: image.byteLength, usage })
      device.queue.writeBuffer(buffer, 0, image)
      return [slot, buffer] as const
    }),
  )
  const { wgsl, bindings, workgroups } = kernel.dispatches[0]!
  device.pushErrorScope('validation')
  const pipeline = device.createComputePipeline({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: wgsl }) },
  })
  const slotOf = (role: (typeof bindings)[number]) =>
    role.kind === 'input'
      ? request.inputs[role.index]!.slot
      : role.kind === 'epilogue'
        ? epilogue[role.index]!.slot
        : request.output.slot
  const entries = bindings.map((role, binding) => ({ binding, resource: { buffer: buffers.get(slotOf(role))! } }))
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
  pass.dispatchWorkgroups(...workgroups)
  pass.end()
  const result = buffers.get(request.output.slot)!
  const staging = device.createBuffer({ size: result.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  encoder.copyBufferToBuffer(result, 0, staging, 0, result.size)
  device.queue.submit([encoder.finish()])
  const failure = await device.popErrorScope()
  if (failure) throw new Error(failure.message)
  await staging.mapAsync(GPUMapMode.READ)
  const all = f16ToF32(new Uint16Array(staging.getMappedRange().slice(0)))
  for (const buffer of [...buffers.values(), staging]) buffer.destroy()
  const { rows, channels, stride4, offset4 } = request.output
  const got = new Float32Array(rows * channels)
  for (let r = 0; r < rows; r++) got.set(all.subarray((offset4 + r * stride4) * 4).subarray(0, channels), r * channels)
  return got
}
