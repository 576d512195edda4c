// Kernels that read quantised weights, each variant forced in turn, against the f64 reference over the numbers that the integers
// stand for, at the tolerances of weights that are not quantised; and every text of theirs on the null backend.
import { afterAll, describe, expect, it } from 'vitest'
import { openDevice } from '../src/device/node.ts'
import { chooseVariant, tuningsFor } from '../src/kernels/choose.ts'
import type { Capabilities } from '../src/kernels/family.ts'
import { withSharedTexts } from '../src/kernels/wgsl/shared-text.ts'
import { planGraph } from '../src/plan/plan.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import { loadPrograms } from '../src/run/webgpu/load-programs.ts'
import { WebGpuSession } from '../src/run/webgpu/session.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import { type QuantisedFormat, quantisedFormats } from '../src/tensor/quantise.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from './cases/case.ts'
import { emulatedKernel } from './emulated-matrices.ts'
import { gpuCapabilities, lavapipeCapabilities, softwareCapabilities, validateOnNull } from './gpu.ts'
import { quantisedCases, quantisedParams } from './quantised-cases.ts'
import { plannedNodes, representable, webgpuDevices } from './run-planned.ts'
import { everything, itsTurn } from './thinning.ts'

function planned(opCase: OpCase, dtype: StorageDType, weights: QuantisedFormat, capabilities: Capabilities) {
  const node = plannedNodes(buildCase(opCase).graph, dtype, capabilities, weights)[0]!
  expect(node.request.inputs[1]!.storage).toBe(weights)
  return node
}

/**
 * Of the four pairs of format and type a case has two, its neighbour the others. Variants with barriers take SwiftShader seconds
 * to compile, Winograd's transforms tens of them: the first take turns, of the others, whose transforms load weights alike, one runs
 * in one case (thinning.ts).
 */
const winogradCase = '3×3 stride 1, 2×6×6×20 → 10'

describe.each(await webgpuDevices())('$name', ({ device }) => {
  const capabilities = capabilitiesOf(device)
  afterAll(() => device.destroy())

  it.each(quantisedCases.map((opCase, i) => ({ ...opCase, i })))(
    '$op $name',
    { timeout: 120_000 },
    async ({ i, ...opCase }) => {
      const { graph, inputs, params } = buildCase(opCase)
      const source = sourceOf(params, graph)
      const failures: string[] = []
      let runs = 0
      for (const [f, weights] of quantisedFormats.entries()) {
        const want = evaluate(graph, inputs, quantisedParams(graph, params, weights)).get('out')!
        for (const [d, dtype] of (['f32', 'f16'] as const).entries()) {
          if (!everything && (i + f + d) % 2 !== 0) continue
          const { family, request } = planned(opCase, dtype, weights, capabilities)
          for (const variant of family.variants) {
            const tunings = tuningsFor(variant, request, true).filter((params) => variant.supports(request, params))
            const borrowed = tuningsFor(variant, request, false).length === 0
            const turn = variant.name.startsWith('winograd')
              ? opCase.name === winogradCase && variant.name === 'winograd-4'
              : (i + f + d) % 8 === 0
            const slow = borrowed || variant.name.startsWith('winograd')
            if (tunings.length === 0 || (slow && !turn && !everything)) continue
            const plan = planGraph(graph, {
              ...{ dtype, weights, capabilities },
              choose: (of, node) => chooseVariant(of, node, variant.name),
            })
            const { program } = await loadPrograms(device, { plan }, source, { dtype })
            const session = new WebGpuSession(plan, program)
            const { out } = await session.run(inputs)
            session.dispose()
            runs += 1
            const tolerance = variant.tolerance[dtype]
            const { units, text } = worst(out!, representable(want, dtype), epsilons[dtype])
            if (units <= tolerance) continue
            failures.push(`${variant.name} ${weights} ${dtype}: ${text}; ${units} units where ${tolerance} are allowed`)
          }
        }
      }
      expect(failures).toEqual([])
      expect(runs).toBeGreaterThan(1)
    },
  )
})

describe('on matrix units, emulated on SwiftShader', () => {
  /** SwiftShader's sizes; the storage is a GPU's. */
  const capabilities = { ...gpuCapabilities, limits: softwareCapabilities.limits }

  const pairs = [
    { weights: 'int8', opCase: quantisedCases.find(({ name }) => name === '130×256 → 136')! },
    { weights: 'int8', opCase: quantisedCases.find(({ name }) => name.endsWith('1×8×8×96 → 64'))! },
    { weights: 'int4', opCase: quantisedCases.find(({ name }) => name.endsWith('1×8×8×96 → 64'))! },
    { weights: 'int4', opCase: quantisedCases.find(({ name }) => name === '130×256 → 136')! },
  ] as const
  it.each(pairs.filter((_, at) => itsTurn(at, 4)))(
    '$weights, $opCase.op $opCase.name',
    { timeout: 300_000 },
    async ({ weights, opCase }) => {
      const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
      const { graph, inputs, params } = buildCase(opCase)
      const want = evaluate(graph, inputs, quantisedParams(graph, params, weights)).get('out')!
      let tolerance = 0
      const plan = planGraph(graph, {
        ...{ dtype: 'f16', weights, capabilities },
        choose(family, request) {
          const variant = family.variants.find(({ name }) => name === 'subgroup-matrix')!
          const tunings = variant.tunings.gpu.filter((each) => variant.supports(request, each))
          const choice = chooseVariant(family, request, variant.name)
          const tuning = tunings.at(-1) // the smallest tile
          tolerance = variant.tolerance.f16
          return { ...choice, kernel: emulatedKernel(variant.emit(request, tuning)), params: tuning }
        },
      })
      const { program } = await loadPrograms(device, { plan }, sourceOf(params, graph), { dtype: 'f16' })
      const session = new WebGpuSession(plan, program)
      const { units, text } = worst((await session.run(inputs)).out!, representable(want, 'f16'), epsilons.f16)
      expect(units, text).toBeLessThanOrEqual(tolerance)
      session.dispose()
      device.destroy()
    },
  )
})

describe('on the null backend', () => {
  const devices = { gpu: gpuCapabilities, software: softwareCapabilities, lavapipe: lavapipeCapabilities }

  it.each(quantisedFormats)('every variant compiles, %s', { timeout: 300_000 }, async (weights) => {
    const texts = new Set<string>()
    const variants = new Set<string>()
    for (const opCase of quantisedCases)
      for (const dtype of ['f32', 'f16'] as const)
        for (const capabilities of Object.values(devices)) {
          const { family, request } = planned(opCase, dtype, weights, capabilities)
          // One tuning a variant and case: what they differ in does not touch loads of weights.
          for (const variant of family.variants)
            for (const params of tuningsFor(variant, request, false)
              .filter((each) => variant.supports(request, each))
              .slice(0, 1)) {
              const kernel = variant.emit(request, params)
              variants.add(`${family.op} ${variant.name}`)
              const shared = capabilities.kind === 'software' ? withSharedTexts(kernel) : kernel
              for (const { wgsl } of shared.dispatches) texts.add(wgsl)
            }
        }
    for (const wgsl of texts) expect(await validateOnNull(wgsl), wgsl).toEqual([])
    expect([...variants].sort()).toEqual([
      'conv2d broadcast',
      'conv2d direct',
      'conv2d pointwise-direct',
      'conv2d pointwise-subgroup-matrix',
      'conv2d pointwise-tiled',
      'conv2d subgroup-matrix',
      'conv2d tiled',
      'conv2d winograd-2',
      'conv2d winograd-4',
      'conv2d winograd-4x8',
      'conv2d winograd-6',
      'conv2d winograd-8',
      'embedding rows',
      'matmul broadcast',
      'matmul direct',
      'matmul few-rows',
      'matmul subgroup-matrix',
      'matmul tiled',
    ])
  })
})
