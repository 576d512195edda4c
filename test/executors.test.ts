// Every op case on WebGPU, each kernel variant forced in turn, against the f64 reference: ops and kernels mean the same, through
// the plan and the program that the product uses. Strides, gaps and tunings of single kernels are wgsl-*.test.ts's business.
import { afterAll, describe, expect, it } from 'vitest'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import { allCases } from './cases/all.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from './cases/case.ts'
import { plannedNodes, representable, runPlanned, variantsOf, webgpuDevices } from './run-planned.ts'

/** Whatever a reshape does beside moving nothing: it has no kernel, and no pass gives it an epilogue. */
const isOnlyOfOnnx = ({ op, epilogue }: OpCase) => op === 'reshape' && epilogue !== undefined

/** Barriers take SwiftShader seconds to compile: GPU variants take turns with the storages unless all is asked for. */
const everything = process.env.PHOSPHENE_TEST_FULL === '1'

/** Winograd's texts are long: they take turns as well, the largest tiles in one case. The rest is wgsl-winograd.test.ts's. */
const winograd = /^winograd-/
const largeTiles = /^winograd-[68]$/
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
      it.each(cases.filter((each) => !isOnlyOfOnnx(each)).map((opCase, i) => ({ ...opCase, i })))(
        '$name',
        async (opCase) => {
          const { graph, inputs, params } = buildCase(opCase)
          const source = sourceOf(params, graph)
          const want = evaluate(graph, inputs, params).get('out')!
          const columns = (['f32', 'f16'] as const).flatMap((dtype, k) => {
            const node = plannedNodes(graph, dtype, capabilities)[0]
            if (!node) return [{ dtype, variant: undefined, tolerance: 0 } as Column] // a view: the very bits come back
            return variantsOf(node)
              .filter(({ name, borrowed }) => {
                if (everything) return true
                if (largeTiles.test(name)) return opCase.name === largeTileCase
                return !(borrowed || winograd.test(name)) || opCase.i % 2 === k
              })
              .map((each): Column => ({ dtype, variant: each.name, tolerance: each.tolerance[dtype] }))
          })
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
        },
      )
    })
})
