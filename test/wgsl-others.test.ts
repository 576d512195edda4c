// Attention, norms, pointwise and data movement on SwiftShader against the ops' f64 references: odd shapes, strides and
// offsets, epilogues, f32 and packed f16; the null backend compiles every variant, tuning and storage (native f16 too). On
// SwiftShader every case meets every variant, and each tuning takes its turn among the cases, in one storage or the other
// (thinning.ts): their full product is PHOSPHENE_TEST_FULL=1's, and bench/gpu/kernels.ts's, on a GPU.
import { describe, expect, test } from 'vitest'
import { binary, constant, type Expr, geluExpr, input, siluExpr, unary } from '../src/graph/expr.ts'
import type { OpDef, RefTensor } from '../src/graph/op.ts'
import { attentionFamily } from '../src/kernels/attention/family.ts'
import { chooseVariant } from '../src/kernels/choose.ts'
import { concatFamily } from '../src/kernels/concat/family.ts'
import { embeddingFamily } from '../src/kernels/embedding/family.ts'
import type { Capabilities, Family, Operand, Request, Storage, Variant } from '../src/kernels/family.ts'
import { groupNormFamily } from '../src/kernels/group-norm/family.ts'
import { layerNormFamily } from '../src/kernels/layer-norm/family.ts'
import { rowMomentsFamily } from '../src/kernels/moments/row-moments.ts'
import { pointwiseFamily } from '../src/kernels/pointwise/family.ts'
import { sliceFamily } from '../src/kernels/slice/family.ts'
import { upsampleFamily } from '../src/kernels/upsample/family.ts'
import { compileExpr } from '../src/ops/expr-reference.ts'
import { type OpName, ops } from '../src/ops/ops.ts'
import { broadcastIndex } from '../src/ops/shapes.ts'
import { gpuCapabilities, operand, runKernel, softwareCapabilities, stored, validateOnNull } from './gpu.ts'
import { itsTurn } from './thinning.ts'

type Shape = readonly number[]

interface Case {
  readonly attrs: unknown
  /** `ids`: token ids below that number; `mean`: values about it, a few wide. */
  readonly inputs: readonly {
    readonly shape: Shape
    readonly weight?: boolean
    readonly ids?: number
    readonly mean?: number
  }[]
  readonly epilogue?: { readonly expr: Expr; readonly shapes: readonly Shape[] }
  /** vec4s between rows of arena operands, and before them. */
  readonly gap?: number
  /** Rows tuned for GPUs run too: all of them, or one that fits, each case another. Barriers compile slowly on SwiftShader. */
  readonly gpu?: 'all' | 'one'
  /** Compiled on the null backend alone: sizes of real models. */
  readonly textOnly?: boolean
}

const residual = (shape: Shape, ...more: Shape[]) => ({
  expr: binary('add', siluExpr(input(0)), input(1)),
  shapes: [shape, ...more],
})

const self = (n: number, t: number, channels: number) => Array.from({ length: 3 }, () => ({ shape: [n, t, channels] }))
const cross = (n: number, t: number, keys: number, channels: number) => [
  { shape: [n, t, channels] },
  { shape: [n, keys, channels] },
  { shape: [n, keys, channels] },
]
const heads = (count: number, width: number, causal = false) => ({ heads: count, scale: 1 / Math.sqrt(width), causal })
const affine = (shape: Shape, mean = 0) => {
  const vector = { shape: [shape.at(-1)!], weight: true }
  return [{ shape, mean }, vector, vector]
}
const norm = (groups: number) => ({ groups, epsilon: 1e-5 })

const cases: Partial<Record<OpName, readonly Case[]>> = {
  attention: [
    ...[2, 3, 12, 16, 24, 40].map((d) => ({ attrs: heads(5, d), inputs: self(2, 13, 5 * d) })),
    { attrs: heads(2, 24), inputs: self(1, 33, 48), gpu: 'one', gap: 1 },
    { attrs: heads(8, 3), inputs: cross(2, 9, 77, 24), epilogue: residual([2, 9, 24]) },
    { attrs: heads(3, 2), inputs: cross(1, 7, 19, 6), gap: 2, epilogue: residual([7, 1]) },
    { attrs: heads(2, 7), inputs: self(1, 5, 14) },
    { attrs: heads(2, 1), inputs: self(1, 5, 2) },
    { attrs: heads(6, 32, true), inputs: self(2, 77, 192) },
    { attrs: heads(2, 6, true), inputs: self(1, 21, 12) },
    { attrs: heads(2, 64, true), inputs: self(1, 37, 128), gpu: 'one' },
    { attrs: heads(2, 80), inputs: cross(2, 11, 77, 160), gpu: 'one', epilogue: residual([160]) },
    { attrs: heads(1, 160), inputs: self(1, 18, 160) },
    { attrs: heads(1, 512), inputs: self(1, 20, 512), gpu: 'one' },
    { attrs: { heads: 1, scale: 20, causal: false }, inputs: self(1, 40, 8) }, // logits of ±100: the maximum must come off
    { attrs: heads(8, 40), inputs: self(2, 4096, 320), textOnly: true },
    { attrs: heads(8, 160), inputs: self(2, 64, 1280), textOnly: true },
    { attrs: heads(1, 512), inputs: self(1, 4096, 512), textOnly: true },
    { attrs: heads(12, 64, true), inputs: self(2, 77, 768), textOnly: true },
  ],
  groupNorm: [
    { attrs: norm(32), inputs: affine([2, 9, 7, 96]), epilogue: { expr: siluExpr(input(0)), shapes: [] } }, // three channels a group
    { attrs: norm(4), inputs: affine([2, 5, 5, 32], 30), gpu: 'all', gap: 1 },
    { attrs: norm(3), inputs: affine([1, 4, 4, 6]), epilogue: residual([1, 4, 4, 6], [1, 1, 1, 6]) },
    { attrs: norm(1), inputs: affine([3, 7, 5]), gpu: 'all' },
    { attrs: norm(2), inputs: affine([2, 65, 3, 24], -500) }, // a mean a thousand deviations away
    { attrs: norm(5), inputs: affine([1, 1, 1, 5], 2) },
    { attrs: norm(16), inputs: affine([1, 64, 64, 32]) },
    { attrs: norm(32), inputs: affine([1, 17, 17, 1024]), gpu: 'all' }, // several lots and chunks
    { attrs: norm(32), inputs: affine([2, 3, 5, 1344], 5), gpu: 'all', gap: 1 }, // groups of 42: blocks that begin at every second
    { attrs: norm(32), inputs: affine([2, 64, 64, 320]), textOnly: true },
    { attrs: norm(32), inputs: affine([2, 8, 8, 1280]), textOnly: true },
    { attrs: norm(32), inputs: affine([1, 512, 512, 128]), textOnly: true },
  ],
  layerNorm: [
    { attrs: { epsilon: 1e-5 }, inputs: affine([2, 19, 192]), gpu: 'all' },
    { attrs: { epsilon: 1e-5 }, inputs: affine([1, 7, 31], 40), gpu: 'all', gap: 1, epilogue: residual([1, 7, 31]) },
    { attrs: { epsilon: 1e-6 }, inputs: affine([5, 3]) },
    { attrs: { epsilon: 1e-5 }, inputs: affine([2, 4096, 320]), textOnly: true },
  ],
  rowMoments: [
    { attrs: { epsilon: 1e-5 }, inputs: [{ shape: [2, 19, 192] }], gpu: 'all' },
    { attrs: { epsilon: 1e-5 }, inputs: [{ shape: [1, 7, 31], mean: 40 }], gpu: 'all', gap: 1 },
    { attrs: { epsilon: 1e-6 }, inputs: [{ shape: [5, 3] }] },
    { attrs: { epsilon: 1e-5 }, inputs: [{ shape: [2, 4096, 320] }], textOnly: true },
  ],
  pointwise: [
    { attrs: { expr: geluExpr(input(0)) }, inputs: [{ shape: [3, 5, 7] }], gpu: 'all' },
    {
      attrs: { expr: binary('mul', binary('add', input(0), input(1)), unary('sigmoid', input(2))) },
      inputs: [{ shape: [2, 3, 5, 10] }, { shape: [2, 1, 1, 10] }, { shape: [10], weight: true }],
      gap: 1,
      epilogue: { expr: binary('max', siluExpr(input(0)), input(1)), shapes: [[2, 3, 5, 10]] },
    },
    {
      attrs: { expr: binary('div', input(0), binary('add', constant(2), binary('mul', input(1), input(1)))) },
      inputs: [{ shape: [4, 1, 6] }, { shape: [1, 9, 1] }],
    },
    { attrs: { expr: unary('exp', unary('tanh', input(0))) }, inputs: [{ shape: [70001] }] },
    { attrs: { expr: binary('add', input(0), input(0)) }, inputs: [{ shape: [2, 512, 512, 256] }], textOnly: true },
  ],
  embedding: [
    {
      attrs: {},
      inputs: [
        { shape: [2, 7], ids: 11 },
        { shape: [11, 10], weight: true },
      ],
      gpu: 'all',
      epilogue: residual([7, 10]),
    },
    {
      attrs: {},
      inputs: [
        { shape: [1, 77], ids: 49408 },
        { shape: [49408, 768], weight: true },
      ],
      textOnly: true,
    },
  ],
  upsample: [
    { attrs: { height: 6, width: 10 }, inputs: [{ shape: [2, 3, 5, 6] }], gpu: 'all', gap: 1 },
    { attrs: { height: 7, width: 5 }, inputs: [{ shape: [1, 3, 2, 4] }], epilogue: residual([1, 7, 5, 4]) },
    { attrs: { height: 64, width: 64 }, inputs: [{ shape: [2, 32, 32, 640] }], textOnly: true },
  ],
  concat: [
    { attrs: { axis: -1 }, inputs: [{ shape: [2, 3, 8] }, { shape: [2, 3, 6] }], gpu: 'all', gap: 1 },
    {
      attrs: { axis: -1 },
      inputs: [{ shape: [5, 3] }, { shape: [5, 6] }, { shape: [5, 1] }],
      epilogue: residual([5, 10]),
    },
    { attrs: { axis: -1 }, inputs: [{ shape: [2, 64, 64, 640] }, { shape: [2, 64, 64, 320] }], textOnly: true },
  ],
  slice: [
    ...[0, 1, 2, 3, 4].map((start) => ({ attrs: { start, end: start + 7 }, inputs: [{ shape: [2, 3, 11] }], gap: 1 })),
    { attrs: { start: 5, end: 6 }, inputs: [{ shape: [4, 6] }], epilogue: residual([4, 1]) },
    { attrs: { start: 640, end: 1280 }, inputs: [{ shape: [2, 77, 1280] }], textOnly: true },
  ],
}

const families: Partial<Record<OpName, Family<never>>> = {
  // Variants on matrix units, which SwiftShader lacks, have tests of their own; plain attention is the partially fused one with one
  // more dispatch, which executors.test.ts runs.
  attention: {
    ...attentionFamily,
    variants: attentionFamily.variants.filter(({ name }) => !/matrix|plain/.test(name)),
  },
  groupNorm: groupNormFamily,
  layerNorm: layerNormFamily,
  rowMoments: rowMomentsFamily,
  pointwise: pointwiseFamily,
  embedding: embeddingFamily,
  upsample: upsampleFamily,
  concat: concatFamily,
  slice: sliceFamily,
}

let seed = 11
/** A fixed sequence in [-1.5, 1.5), about `mean`. */
function random(count: number, mean: number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return (seed / 2 ** 31 - 1) * 1.5 + mean
  })
}

const size = (shape: Shape) => shape.reduce((a, b) => a * b, 1)
const epsilon = (storage: Storage) => (storage === 'f32' ? 2 ** -23 : 2 ** -10)
const opOf = (name: OpName) => ops[name] as unknown as OpDef<unknown>

function outputShape(name: OpName, { inputs, attrs }: Case): Shape {
  const types = inputs.map(({ shape, ids }) => ({ shape, kind: ids ? ('int' as const) : ('float' as const) }))
  return opOf(name).infer(types, attrs, 'test').shape
}

function requestFor(name: OpName, one: Case, storage: Storage, capabilities: Capabilities): Request<unknown> {
  let slot = 0
  const place = (shape: Shape, fields: Partial<Operand> = {}): Operand => {
    const plain = operand({ shape, slot: slot++, storage, ...fields })
    const gap = one.gap ?? 0
    return plain.space === 'weight' || plain.storage === 'int' || gap === 0
      ? plain
      : { ...plain, stride4: plain.groups4 + gap, offset4: gap }
  }
  return {
    attrs: one.attrs,
    inputs: one.inputs.map(({ shape, weight, ids }) =>
      place(shape, { ...(weight ? { space: 'weight' } : {}), ...(ids ? { storage: 'int' } : {}) }),
    ),
    ...(one.epilogue
      ? { epilogue: { expr: one.epilogue.expr, inputs: one.epilogue.shapes.map((s) => place(s)) } }
      : {}),
    output: place(outputShape(name, one)),
    capabilities,
  }
}

/** The op's f64 reference and, on top, the epilogue's. */
function expected(name: OpName, one: Case, inputs: readonly RefTensor[], epilogue: readonly Float32Array[]) {
  const shape = outputShape(name, one)
  const plain = opOf(name).reference(inputs, one.attrs, { shape, kind: 'float' })
  if (!one.epilogue) return plain
  const evaluate = compileExpr(one.epilogue.expr)
  const indices = one.epilogue.shapes.map((s) => broadcastIndex(s, shape))
  const data = new Float64Array(plain.data.length)
  const scale = new Float64Array(plain.data.length)
  plain.data.forEach((value, i) => {
    const more = epilogue.map((values, k) => values[indices[k]![i]!]!).map((v) => ({ value: v, error: Math.abs(v) }))
    const result = evaluate([{ value, error: plain.scale[i]! }, ...more])
    data[i] = result.value
    scale[i] = result.error
  })
  return { shape, data, scale }
}

function dataFor(one: Case, request: Request<unknown>) {
  const inputs = one.inputs.map(({ shape, ids, mean }, i) =>
    ids
      ? Uint32Array.from({ length: size(shape) }, (_, k) => (k * 7 + 3) % ids)
      : stored(random(size(shape), mean ?? 0), request.inputs[i]!.storage),
  )
  const epilogue = (one.epilogue?.shapes ?? []).map((s) => stored(random(size(s), 0), request.output.storage))
  const tensors = inputs.map((values, i) => ({ shape: one.inputs[i]!.shape, data: Float64Array.from(values) }))
  return { inputs, epilogue, tensors }
}

/** The null backend has the least workgroup storage that WebGPU allows; GPUs have more. */
function withinStorage(message: string): boolean {
  const bytes = /total use of workgroup storage \((\d+) bytes\)/.exec(message)?.[1]
  return bytes !== undefined && Number(bytes) <= gpuCapabilities.limits.maxComputeWorkgroupStorageSize
}

/** Kernels that differ in no text, by variant: two tunings can come to the same for a small shape. */
function distinct(name: OpName, one: Case, variant: Variant<unknown, unknown>, rows: readonly unknown[]) {
  const request = requestFor(name, one, 'f32', softwareCapabilities)
  const known = new Map<string, unknown>()
  for (const params of rows.filter((row) => variant.supports(request, row))) {
    const text = JSON.stringify(variant.emit(request, params).dispatches)
    if (!known.has(text)) known.set(text, params)
  }
  return [...known.values()]
}

async function check(name: OpName, one: Case, storage: Storage, variant: Variant<unknown, unknown>, params: unknown) {
  const request = requestFor(name, one, storage, softwareCapabilities)
  if (!variant.supports(request, params)) return false
  const { inputs, epilogue, tensors } = dataFor(one, request)
  const want = expected(name, one, tensors, epilogue)
  const got = await runKernel(variant.emit(request, params), request, { inputs, epilogue })
  const c = variant.tolerance[storage === 'f32' ? 'f32' : 'f16']
  let [worst, at] = [0, 0]
  got.forEach((value, i) => {
    const ratio = Math.abs(value - want.data[i]!) / (epsilon(storage) * want.scale[i]! + 1e-30)
    if (!(ratio <= worst)) [worst, at] = [ratio, i]
  })
  if (process.env.PHOSPHENE_RATIOS)
    console.log(name, variant.name, storage, JSON.stringify(params), worst.toFixed(2), 'of', c)
  const where = `${name} ${variant.name} ${JSON.stringify(params)} ${storage} ${JSON.stringify(one)}`
  expect(worst, `${where}: [${at}] ${got[at]} ≠ ${want.data[at]} (scale ${want.scale[at]})`).toBeLessThanOrEqual(c)
  return true
}

for (const [name, list] of Object.entries(cases) as [OpName, readonly Case[]][]) {
  const family = families[name] as unknown as Family<unknown>
  describe(name, () => {
    for (const variant of family.variants) {
      test(`${variant.name} agrees with the f64 reference`, { timeout: 240_000 }, async () => {
        let ran = 0
        const { software, gpu } = variant.tunings
        for (const [at, one] of list.filter(({ textOnly }) => !textOnly).entries()) {
          const own = distinct(name, one, variant, software)
          const others = one.gpu ? distinct(name, one, variant, gpu) : []
          const borrowed = one.gpu === 'one' && others.length > 0 ? [others[at % others.length]!] : others
          const rows = [...own.filter((_, row) => itsTurn(at + row, own.length)), ...borrowed]
          for (const params of rows) if (await check(name, one, 'f32', variant, params)) ran++
          // The storage is the accessors' business, whatever the row: every other case takes one, in turn, barriers one in six.
          if (rows.length > 0 && itsTurn(at, own.length > 0 ? 2 : 6))
            await check(name, one, 'f16-packed', variant, rows[at % rows.length])
        }
        expect(ran).toBeGreaterThan(0)
      })
    }

    test('every text compiles', { timeout: 240_000 }, async () => {
      const seen = new Set<string>()
      for (const one of list)
        for (const storage of ['f32', 'f16', 'f16-packed'] as const) {
          const request = requestFor(name, one, storage, gpuCapabilities)
          for (const variant of family.variants)
            for (const params of [...variant.tunings.software, ...variant.tunings.gpu]) {
              if (!variant.supports(request, params)) continue
              for (const { wgsl, workgroups } of variant.emit(request, params).dispatches) {
                expect(Math.max(...workgroups)).toBeLessThanOrEqual(65535)
                if (seen.has(wgsl)) continue
                seen.add(wgsl)
                const messages = (await validateOnNull(wgsl)).filter((message) => !withinStorage(message))
                expect(messages, `${variant.name} ${JSON.stringify(params)}\n${wgsl}`).toEqual([])
              }
            }
        }
      expect(seen.size).toBeGreaterThan(0)
    })

    test('something is chosen for every case on both kinds of adapter', () => {
      for (const one of list)
        for (const capabilities of [softwareCapabilities, gpuCapabilities]) {
          const choice = chooseVariant(family, requestFor(name, one, 'f32', capabilities))
          if (process.env.PHOSPHENE_RATIOS)
            console.log(
              capabilities.kind,
              name,
              JSON.stringify(one.inputs[0]!.shape),
              choice.variant,
              JSON.stringify(choice.params),
              choice.cost | 0,
            )
          expect(choice.cost).toBeGreaterThan(0)
        }
    })
  })
}

test('a forced variant is taken, an impossible one refused with the names of the others', () => {
  const one = cases.attention!.find(({ attrs }) => (attrs as { heads: number }).heads === 8)! // three channels a head
  const request = requestFor('attention', one, 'f32', softwareCapabilities)
  const family = attentionFamily as unknown as Family<unknown>
  expect(chooseVariant(family, request, 'per-query').variant).toBe('per-query')
  expect(() => chooseVariant(family, request, 'tiled')).toThrow(/attention \(tiled\).*\[2,9,24\]/)
  const aligned = requestFor('attention', { attrs: heads(2, 64), inputs: self(1, 8, 128) }, 'f32', softwareCapabilities)
  expect(chooseVariant(family, aligned, 'tiled').variant).toBe('tiled') // with a row meant for GPUs
})
