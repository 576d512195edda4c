// Every op case on WebGPU, each kernel variant forced in turn, against the f64 reference: ops and kernels mean the same, through
// the plan and the program that the product uses. Strides, gaps and tunings of single kernels are wgsl-*.test.ts's business.
// Each case meets each of SwiftShader's variants in f32 or in f16, in turn, and one of seven cases those tuned for GPUs
// (thinning.ts): the full product is PHOSPHENE_TEST_FULL=1's, and bench/gpu/kernels.ts's, on a GPU.
import { afterAll, describe, expect, it } from 'vitest'
import type { Capabilities } from '../src/kernels/family.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import { allCases } from './cases/all.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from './cases/case.ts'
import { plannedNodes, representable, runPlanned, variantsOf, webgpuDevices } from './run-planned.ts'
import { everything, itsTurn } from './thinning.ts'

/** Whatever a reshape does beside moving nothing: it has no kernel, and no pass gives it an epilogue. */
const isOnlyOfOnnx = ({ op, epilogue }: OpCase) => op === 'reshape' && epilogue !== undefined

/** Barriers take SwiftShader seconds to compile: variants that only GPUs have tunings for meet two of so many cases. */
const borrowedTurns = 14

/** Winograd's texts are long: the largest tiles meet one case, the others half. The rest is wgsl-winograd.test.ts's. */
const winograd = /^winograd-/
const largeTiles = /^winograd-(6|8|4x8)$/
const largeTileCase = '3×3, time embedding'

interface Column {
  readonly dtype: StorageDType
  readonly variant: string | undefined
  readonly tolerance: number
}

describe.each(await webgpuDevices())('$name', ({ name, device }) => {
  const capabilities = capabilitiesOf(device)
  const runs = new Map<string, number>()
  afterAll(() => {
    const counts = [...runs].map(([variant, count]) => `${variant} ${count}`)
    console.log(`${name}, runs by variant: ${counts.join(', ')}`)
    device.destroy()
  })

  for (const [op, cases] of Object.entries(allCases))
    describe(op, () => {
      const { inTurn, left } = columnsOf(cases, capabilities)
      it.each(inTurn)('$opCase.name', async ({ opCase, columns }) => {
        const { graph, inputs, params } = buildCase(opCase)
        const source = sourceOf(params, graph)
        const want = evaluate(graph, inputs, params).get('out')!
        const failures: string[] = []
        // All at once, so that pipelines compile beside each other.
        await Promise.all(
          columns.map(async ({ dtype, variant, tolerance }) => {
            const { outputs, kernels } = await runPlanned(device, graph, source, inputs, { dtype, variant })
            const { units, text } = worst(outputs.out!, representable(want, dtype), epsilons[dtype])
            const label = `${op} ${variant ?? 'view'}`
            runs.set(label, (runs.get(label) ?? 0) + 1)
            if (units <= tolerance) return
            const bound = `${units.toPrecision(3)} units where ${tolerance} are allowed`
            failures.push(
              `${opCase.name}, ${dtype}, ${kernels || 'view'} on ${device.description.name}: ${text}; ${bound}`,
            )
          }),
        )
        expect(failures).toEqual([])
      })

      it('leaves out no case, and no variant in any storage', () => {
        expect(left).toEqual([])
      })
    })
})

/** What each case runs; and what would not run at all: variants in a storage, cases. */
function columnsOf(cases: readonly OpCase[], capabilities: Capabilities) {
  const met = new Map<string, number>()
  const ran = new Set<string>()
  const inTurn = cases
    .filter((each) => !isOnlyOfOnnx(each))
    .map((opCase) => {
      const { graph } = buildCase(opCase)
      const columns = (['f32', 'f16'] as const).flatMap((dtype, k): Column[] => {
        const node = plannedNodes(graph, dtype, capabilities)[0]
        if (!node) return [{ dtype, variant: undefined, tolerance: 0 }] // a view: the very bits come back
        return variantsOf(node)
          .filter(({ name, borrowed }) => {
            const label = `${name} ${dtype}`
            const at = met.get(label) ?? 0
            met.set(label, at + 1)
            const turns = borrowed ? borrowedTurns : winograd.test(name) ? 4 : 2
            const runs = largeTiles.test(name) ? everything || opCase.name === largeTileCase : itsTurn(at, turns, k)
            if (runs) ran.add(label)
            return runs
          })
          .map(({ name, tolerance }) => ({ dtype, variant: name, tolerance: tolerance[dtype] }))
      })
      return { opCase, columns }
    })
  const idle = inTurn.filter(({ columns }) => columns.length === 0).map(({ opCase }) => opCase.name)
  return { inTurn, left: [...[...met.keys()].filter((label) => !ran.has(label)), ...idle] }
}
