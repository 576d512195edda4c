// Partially fused softmax: every text on the null backend, numbers with matrix units emulated on SwiftShader, and where it is
// chosen. On vector units its numbers are executors.test.ts's business. Emulated, the cases take turns (thinning.ts); all tunings
// with every case are bench/gpu/kernels.ts's, on a GPU.
import { describe, expect, test } from 'vitest'
import { binary, input } from '../src/graph/expr.ts'
import { attentionFamily } from '../src/kernels/attention/family.ts'
import { partialSoftmaxAttention } from '../src/kernels/attention/partial-softmax.ts'
import { partialSoftmaxMatrixAttention } from '../src/kernels/attention/partial-softmax-matrix.ts'
import { chooseVariant } from '../src/kernels/choose.ts'
import type { Capabilities, Kernel, Operand, Request, Variant } from '../src/kernels/family.ts'
import { attentionOp } from '../src/ops/attention.ts'
import type { AttentionAttrs } from '../src/ops/attrs.ts'
import { f16ToF32, f32ToF16 } from '../src/tensor/dtype.ts'
import { emulatedKernel, workgroupMemory } from './emulated-matrices.ts'
import { type CompiledTexts, gpuCapabilities, operand, runKernel, softwareCapabilities, validateOnNull } from './gpu.ts'
import { itsTurn } from './thinning.ts'

interface Sizes {
  readonly tq: number
  readonly tk: number
  readonly d: number
  readonly heads?: number
  readonly n?: number
  readonly causal?: true
  readonly scale?: number
  /** q, k and v in one buffer, side by side. */
  readonly fused?: true
  readonly residual?: true
  readonly storage?: 'f32' | 'f16'
  readonly output?: 'f32' | 'f16'
}

function requestOf(sizes: Sizes, capabilities: Capabilities): Request<AttentionAttrs> {
  const { tq, tk, d, heads = 2, n = 1, causal = false, scale = 1 / Math.sqrt(d), storage = 'f16' } = sizes
  const groups = (heads * d) / 4
  const place = (index: number): Operand =>
    operand({
      ...{ shape: [n, index === 0 ? tq : tk, heads * d], storage },
      ...(sizes.fused ? { slot: 0, stride4: 3 * groups + 2, offset4: index * groups + 2 } : { slot: index }),
    })
  const residual = {
    expr: binary('add', input(0), input(1)),
    inputs: [operand({ shape: [n, tq, heads * d], slot: 4 })],
  }
  return {
    attrs: { heads, scale, causal },
    inputs: [0, 1, 2].map(place),
    ...(sizes.residual ? { epilogue: residual } : {}),
    output: operand({ shape: [n, tq, heads * d], slot: 3, storage: sizes.output ?? storage }),
    capabilities,
  }
}

const variants = { vector: partialSoftmaxAttention, matrix: partialSoftmaxMatrixAttention } as const

describe.each(Object.entries(variants))('on the null backend, %s units', (_, { tunings, supports, emit }) => {
  test.each([8, 40, 80, 160, 512])('every text of width %i compiles', { timeout: 240_000 }, async (d) => {
    const texts = new Set<string>()
    const tried = new Set<unknown>()
    for (const { tq, tk, ...rest } of [
      { tq: 4096, tk: 4096, heads: d === 512 ? 1 : 8, n: d === 512 ? 1 : 2, fused: true },
      { tq: 77, tk: 77, heads: 3, causal: true },
      { tq: 100, tk: 154, residual: true },
    ] as const) {
      const request = requestOf({ tq, tk, d, ...rest }, gpuCapabilities)
      // Every third, another one each time: texts differ by tile, and tiles are `matmul`'s.
      for (const [i, params] of tunings.gpu.entries()) {
        if (i % 3 !== tried.size % 3 || !supports(request, params as never)) continue
        tried.add(params)
        const kernel = emit(request, params as never)
        for (const { wgsl, workgroups } of kernel.dispatches) {
          texts.add(wgsl)
          expect(Math.max(...workgroups)).toBeLessThanOrEqual(65535)
          expect(workgroupMemory(wgsl)).toBeLessThanOrEqual(gpuCapabilities.limits.maxComputeWorkgroupStorageSize)
        }
        expect(kernel.scratch[0]).toBeLessThanOrEqual(2 ** 25)
      }
    }
    expect(tried.size).toBeGreaterThan(5)
    for (const wgsl of texts) {
      // The null backend's subgroups may have 128 lanes, which a workgroup on matrix units must fill.
      const messages = (await validateOnNull(wgsl)).filter(
        (each) => !/multiple of the device maxSubgroupSize/.test(each),
      )
      expect(messages, wgsl).toEqual([])
    }
  })
})

let seed = 5
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return (seed / 2 ** 31 - 1) * 1.5
}

const compiled: CompiledTexts = new Map()

/** The largest error of a kernel in units of its tolerance. `run`: the kernel as the device runs it. */
async function ratioOf<P>(
  variant: Variant<AttentionAttrs, P>,
  params: P,
  request: Request<AttentionAttrs>,
  run: (kernel: Kernel) => Kernel = (kernel) => kernel,
): Promise<number> {
  const inputs = request.inputs.map(({ rows, channels }) =>
    f16ToF32(f32ToF16(Float32Array.from({ length: rows * channels }, random))),
  )
  const residual = request.epilogue && Float32Array.from({ length: inputs[0]!.length }, random)
  const data = { inputs, epilogue: residual ? [residual] : [] }
  const got = await runKernel(run(variant.emit(request, params)), request, data, compiled)
  const tensors = inputs.map((values, i) => ({ shape: request.inputs[i]!.shape, data: Float64Array.from(values) }))
  const want = attentionOp.reference(tensors, request.attrs, { shape: request.output.shape, kind: 'float' })
  const [c, epsilon] =
    request.output.storage === 'f32' ? [variant.tolerance.f32, 2 ** -23] : [variant.tolerance.f16, 2 ** -10]
  return got.reduce((worst, value, i) => {
    const added = residual ? residual[i]! : 0
    const ratio = Math.abs(value - want.data[i]! - added) / (epsilon * (want.scale[i]! + Math.abs(added)) + 1e-30)
    return ratio <= worst * c ? worst : ratio / c
  }, 0)
}

const cases: readonly Sizes[] = [
  { tq: 70, tk: 77, d: 40, residual: true, output: 'f32' },
  { tq: 75, tk: 75, d: 24, heads: 3, n: 2, causal: true },
  { tq: 150, tk: 40, d: 64, heads: 1, fused: true },
  { tq: 1, tk: 1, d: 8, output: 'f32' },
  { tq: 130, tk: 70, d: 512, heads: 1, output: 'f32' },
]

test.each(cases.map((sizes, at) => [sizes, at] as const))(
  'agrees with the f64 reference, units emulated: %o',
  { timeout: 600_000 },
  async (sizes, at) => {
    const request = requestOf(sizes, gpuCapabilities)
    const fits = partialSoftmaxMatrixAttention.tunings.gpu.filter((params) =>
      partialSoftmaxMatrixAttention.supports(request, params),
    )
    // The least tile; every other case, in one block or in as many as there can be, by turns.
    const least = fits.toSorted(
      (a, b) =>
        a.logits.tileM * a.logits.tileN - b.logits.tileM * b.logits.tileN ||
        a.values.tileM * a.values.tileN - b.values.tileM * b.values.tileN,
    )[0]!
    for (const logitBytes of [1, least.logitBytes].filter((_, blocks) => itsTurn(at + 2 * blocks, 4)))
      expect(
        await ratioOf(partialSoftmaxMatrixAttention, { ...least, logitBytes }, request, emulatedKernel),
        `${logitBytes} bytes`,
      ).toBeLessThanOrEqual(1)
  },
)

test.each([
  { tq: 77, tk: 77, d: 12, heads: 3, causal: true, storage: 'f32' },
  { tq: 33, tk: 20, d: 5, heads: 5, n: 2, residual: true, storage: 'f32' },
] as const)('agrees with the f64 reference in many blocks: %o', async (sizes) => {
  const request = requestOf(sizes, softwareCapabilities)
  for (const params of partialSoftmaxAttention.tunings.software) {
    const cut = { ...params, logitBytes: 8000 }
    expect(partialSoftmaxAttention.emit(request, cut).dispatches.length).toBeGreaterThan(20)
    expect(await ratioOf(partialSoftmaxAttention, cut, request)).toBeLessThanOrEqual(1)
  }
})

test('is chosen where heads are wide, and nowhere else on a GPU with matrix units', () => {
  const plain: Capabilities = { ...gpuCapabilities, matrixShapes: [] }
  const chosen = (sizes: Sizes, capabilities: Capabilities) =>
    chooseVariant(attentionFamily, requestOf(sizes, capabilities)).variant
  const vae: Sizes = { tq: 4096, tk: 4096, d: 512, heads: 1 }
  expect(chosen(vae, gpuCapabilities)).toBe('partial-softmax-matrix')
  expect(chosen(vae, plain)).toBe('partial-softmax')
  for (const [tq, tk, d] of [
    [4096, 4096, 40],
    [1024, 1024, 80],
    [4096, 77, 40],
  ] as const)
    expect(chosen({ tq, tk, d, heads: 8, n: 2 }, gpuCapabilities)).toBe('subgroup-matrix')
  const software = { ...softwareCapabilities, subgroups: false }
  expect(chosen({ tq: 1024, tk: 1024, d: 128, heads: 1, storage: 'f32' }, software)).toBe('partial-softmax')
  expect(chosen({ tq: 1024, tk: 1024, d: 12, heads: 8, n: 2, storage: 'f32' }, software)).toBe('per-query')
})
