// The sampling kernels on SwiftShader against f64 loops, and their texts on the null backend in every storage.
import { describe, expect, test } from 'vitest'
import type { Storage } from '../src/kernels/family.ts'
import {
  type SamplerRow,
  type SamplingBinding,
  type SamplingDispatch,
  samplerCoefficients,
  slotStride,
} from '../src/kernels/sampling/coefficients.ts'
import { guidanceRescaleDispatch } from '../src/kernels/sampling/guidance-rescale.ts'
import { modelInputDispatch } from '../src/kernels/sampling/model-input.ts'
import { samplerRowDispatch } from '../src/kernels/sampling/sampler-row.ts'
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.ts'
import { gpuCapabilities, operand, softwareCapabilities, softwareDevice, stored, validateOnNull } from './gpu.ts'

type Buffers = Partial<Record<SamplingBinding, Float32Array | Uint16Array | Uint32Array>>

/** Runs the dispatches one after another over the same buffers; what they hold afterwards. */
async function run(dispatches: readonly SamplingDispatch[], buffers: Buffers): Promise<Map<string, ArrayBuffer>> {
  const device = await softwareDevice()
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const held = new Map<string, GPUBuffer>()
  for (const [name, values] of Object.entries(buffers)) {
    const buffer = device.createBuffer({ size: Math.ceil(values.byteLength / 4) * 4, usage })
    device.queue.writeBuffer(buffer, 0, values.buffer, values.byteOffset, values.byteLength)
    held.set(name, buffer)
  }
  device.pushErrorScope('validation')
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  for (const { wgsl, bindings, workgroups } of dispatches) {
    const module = device.createShaderModule({ code: wgsl })
    const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } })
    const entries = bindings.map((name, binding) => ({ binding, resource: { buffer: held.get(name)! } }))
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(...workgroups)
  }
  pass.end()
  const results = new Map<string, ArrayBuffer>()
  const stagings: [string, GPUBuffer][] = []
  for (const [name, buffer] of held) {
    const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size)
    stagings.push([name, staging])
  }
  device.queue.submit([encoder.finish()])
  const failure = await device.popErrorScope()
  if (failure) throw new Error(failure.message)
  for (const [name, staging] of stagings) {
    await staging.mapAsync(GPUMapMode.READ)
    results.set(name, staging.getMappedRange().slice(0))
    staging.destroy()
  }
  for (const buffer of held.values()) buffer.destroy()
  return results
}

let seed = 5
function random(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return (seed / 2 ** 31 - 1) * 2
  })
}

/** Rows of channels as the model stores them. */
function rowsOf(values: Float32Array, channels: number, storage: Storage): Float32Array | Uint16Array {
  const padded = Math.ceil(channels / 4) * 4
  const rows = values.length / channels
  const result = new Float32Array(rows * padded)
  for (let r = 0; r < rows; r++) result.set(values.subarray(r * channels, (r + 1) * channels), r * padded)
  return storage === 'f32' ? result : f32ToF16(result)
}

const shapes = [
  [2, 3, 5, 4],
  [1, 4, 4, 4],
  [2, 3, 3, 7],
  [3, 2, 2, 16],
]
const storages = ['f32', 'f16-packed'] as const
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
const branched = (shape: readonly number[], branches: number) => [shape[0]! * branches, ...shape.slice(1)]
const noGuidance = { scale: 1, rescale: 0 }
const still: SamplerRow = { inputScale: 1, denoised: { x: 0, model: 1 }, updates: [] }

function stateOf(slots: readonly Float32Array[]): Float32Array {
  const stride = slotStride(slots[0]!.length)
  const state = new Float32Array(stride * slots.length)
  slots.forEach((values, s) => {
    state.set(values, s * stride)
  })
  return state
}

describe('modelInput', () => {
  test.each(storages)('scales x into every branch, pads zero (%s)', async (storage) => {
    for (const shape of shapes)
      for (const branches of [1, 2]) {
        const x = random(size(shape))
        const input = operand({ shape: branched(shape, branches), slot: 0, storage })
        const floats = input.rows * input.groups4 * 4
        const modelInput = storage === 'f32' ? new Float32Array(floats).fill(9) : new Uint16Array(floats).fill(0x4880)
        const coefficients = samplerCoefficients({ ...still, inputScale: 0.37 }, ['x', 'old'], noGuidance)
        const state = stateOf([x, random(x.length)])
        const dispatch = modelInputDispatch(input, shape, softwareCapabilities)
        const bytes = (await run([dispatch], { modelInput, state, coefficients })).get('modelInput')!
        const got = storage === 'f32' ? new Float32Array(bytes) : f16ToF32(new Uint16Array(bytes))
        const scaled = x.map((v) => v * Math.fround(0.37)) // one rounding, the same in f32
        const want = new Float32Array(floats)
        const padded = input.groups4 * 4
        for (let r = 0; r < input.rows; r++) {
          const row = (r % (input.rows / branches)) * shape[3]!
          want.set(scaled.subarray(row, row + shape[3]!), r * padded)
        }
        const bound = storage === 'f32' ? 2 ** -23 : 2 ** -10
        got.forEach((value, i) => {
          expect(Math.abs(value - want[i]!), `${shape} ${i}`).toBeLessThanOrEqual(bound * Math.abs(want[i]!))
        })
      }
  })
})

const row: SamplerRow = {
  inputScale: 1,
  denoised: { x: 0.8, model: -0.6, clip: 1 },
  updates: [
    { slot: 'x', terms: { x: 0.9, denoised: 0.3, old: -0.2, noise: 0.5 } },
    { slot: 'old', terms: { denoised: 1 } },
    { slot: 'older', terms: { old: 1, model: 0.25 } },
  ],
}

/** What the row makes in f64, with Σ|terms| of each value. */
function rowReference(
  { denoised: d, updates }: SamplerRow,
  slots: readonly string[],
  old: readonly Float32Array[],
  model: Float64Array,
  modelScale: Float64Array,
  noise: Float32Array,
) {
  return slots.map((slot, s) => {
    const terms = updates.find((u) => u.slot === slot)?.terms ?? { [slot]: 1 }
    return Array.from(old[s]!, (_, i) => {
      const x = old[0]![i]!
      const clip = d.clip ?? Number.POSITIVE_INFINITY
      const denoised = Math.min(clip, Math.max(-clip, d.x * x + d.model * model[i]!))
      const denoisedScale = Math.abs(d.x * x) + Math.abs(d.model) * modelScale[i]!
      let [value, scale] = [0, 0]
      for (const [name, factor] of Object.entries(terms)) {
        const at = slots.indexOf(name)
        const term =
          name === 'model' ? model[i]! : name === 'denoised' ? denoised : name === 'noise' ? noise[i]! : old[at]![i]!
        const size = name === 'model' ? modelScale[i]! : name === 'denoised' ? denoisedScale : Math.abs(term)
        value += factor * term
        scale += Math.abs(factor) * size
      }
      return { value, scale }
    })
  })
}

describe('samplerRow', () => {
  const slots = ['x', 'old', 'older']
  test.each(
    storages.flatMap((storage) => [
      { storage, branches: 1 as const, rescale: 0 },
      { storage, branches: 2 as const, rescale: 0 },
      { storage, branches: 2 as const, rescale: 0.7 },
    ]),
  )('guides, denoises and updates every slot: $storage, $branches branches, rescale $rescale', async (one) => {
    const { storage, branches, rescale } = one
    for (const shape of shapes) {
      const count = size(shape)
      const channels = shape[3]!
      const old = slots.map(() => random(count))
      const noise = random(count)
      const output = stored(random(count * branches), storage)
      const guidance = { scale: 6.5, rescale }
      const model = new Float64Array(count)
      const modelScale = new Float64Array(count)
      const conditional = output.subarray(count * (branches - 1))
      for (let i = 0; i < count; i++) {
        model[i] = branches === 1 ? output[i]! : output[i]! + guidance.scale * (conditional[i]! - output[i]!)
        modelScale[i] = Math.abs(conditional[i]!) * guidance.scale + Math.abs(output[i]!) * (1 + guidance.scale)
      }
      if (rescale > 0) {
        const each = count / shape[0]!
        for (let n = 0; n < shape[0]!; n++) {
          const part = <T extends Float32Array | Float64Array>(values: T) => [
            ...values.subarray(n * each, (n + 1) * each),
          ]
          const factor = (rescale * deviation(part(conditional))) / deviation(part(model)) + 1 - rescale
          for (let i = n * each; i < (n + 1) * each; i++) {
            model[i]! *= factor
            modelScale[i]! *= 2 * factor // the factor errs by as many ulps again
          }
        }
      }
      const m = operand({ shape: branched(shape, branches), slot: 0, storage })
      const kind = channels === 7 ? 'gpu' : 'software' // 256 lanes or one
      const dispatches = [
        ...(rescale > 0 ? [guidanceRescaleDispatch(m, shape, { ...softwareCapabilities, kind })] : []),
        samplerRowDispatch(m, { shape, slots: slots.length, branches, rescaled: rescale > 0 }, softwareCapabilities),
      ]
      const result = await run(dispatches, {
        modelOutput: rowsOf(output, channels, storage),
        state: stateOf(old),
        noise,
        coefficients: samplerCoefficients(row, slots, guidance),
        flags: new Uint32Array(1),
        ...(rescale > 0 ? { factors: new Float32Array(shape[0]!) } : {}),
      })
      const state = new Float32Array(result.get('state')!)
      const want = rowReference(row, slots, old, model, modelScale, noise)
      // State is f32 whatever the model's storage: rounding of each product and sum on the way, at most eight.
      want.forEach((values, s) => {
        values.forEach(({ value, scale }, i) => {
          const got = state[s * slotStride(count) + i]!
          expect(Math.abs(got - value), `${shape} ${slots[s]} [${i}] ${got} ≠ ${value}`).toBeLessThanOrEqual(
            8 * 2 ** -24 * scale,
          )
        })
      })
      expect(new Uint32Array(result.get('flags')!)[0]).toBe(0)
    }
  })

  test('a slot that the row does not name keeps its values; unwritten history does not spread', async () => {
    const shape = [1, 2, 3, 4]
    const old = [random(24), new Float32Array(24).fill(Number.NaN)]
    const m = operand({ shape, slot: 0 })
    const keep: SamplerRow = { ...still, updates: [{ slot: 'x', terms: { x: 1, old: 0, denoised: 0.5 } }] }
    const output = random(24)
    const result = await run(
      [samplerRowDispatch(m, { shape, slots: 2, branches: 1, rescaled: false }, softwareCapabilities)],
      {
        modelOutput: output,
        state: stateOf(old),
        noise: new Float32Array(24),
        coefficients: samplerCoefficients(keep, ['x', 'old'], noGuidance),
        flags: new Uint32Array(1),
      },
    )
    const state = new Float32Array(result.get('state')!)
    for (let i = 0; i < 24; i++) expect(state[i]).toBeCloseTo(old[0]![i]! + 0.5 * output[i]!, 5)
    expect(state.subarray(24).every(Number.isNaN)).toBe(true)
    expect(new Uint32Array(result.get('flags')!)[0]).toBe(0)
  })

  test('counts values that are not finite', async () => {
    const shape = [1, 2, 3, 4]
    const output = random(24)
    output[3] = Number.NaN
    output[7] = Number.POSITIVE_INFINITY
    output[23] = Number.NEGATIVE_INFINITY
    const x = random(24)
    x[11] = 3e38 // finite, twice that is not
    const m = operand({ shape, slot: 0 })
    const result = await run(
      [samplerRowDispatch(m, { shape, slots: 1, branches: 1, rescaled: false }, softwareCapabilities)],
      {
        modelOutput: output,
        state: x,
        noise: new Float32Array(24),
        coefficients: samplerCoefficients(
          { ...still, updates: [{ slot: 'x', terms: { denoised: 1, x: 2 } }] },
          ['x'],
          noGuidance,
        ),
        flags: new Uint32Array([2]),
      },
    )
    expect(new Uint32Array(result.get('flags')!)[0]).toBe(6)
  })
})

/** Unbiased standard deviation, as torch's std. */
function deviation(values: readonly number[]): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length
  return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1))
}

test('a row with a name that the sampler lacks is refused', () => {
  const typo: SamplerRow = { ...still, updates: [{ slot: 'x', terms: { epsilom: 1 } }] }
  expect(() => samplerCoefficients(typo, ['x'], noGuidance)).toThrow(/epsilom.*x, model, denoised, noise/)
})

test('every text compiles, on GPUs too', async () => {
  for (const storage of ['f32', 'f16', 'f16-packed'] as const)
    for (const capabilities of [softwareCapabilities, gpuCapabilities])
      for (const shape of shapes)
        for (const branches of [1, 2] as const) {
          const m = operand({ shape: branched(shape, branches), slot: 0, storage, offset4: 3 })
          const options = { shape, slots: 4, branches, rescaled: branches === 2 }
          const dispatches = [
            modelInputDispatch(m, shape, capabilities),
            ...(branches === 2 ? [guidanceRescaleDispatch(m, shape, capabilities)] : []),
            samplerRowDispatch(m, options, capabilities),
          ]
          for (const { wgsl } of dispatches) expect(await validateOnNull(wgsl), wgsl).toEqual([])
        }
})
