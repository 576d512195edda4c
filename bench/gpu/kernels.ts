// Every op case on a GPU, with every variant and every tuning that takes it, against the f64 reference.
// Usage: kernels.js [f16,f32] [--ops attention,matmul] [--browser]
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { tuningsFor } from '../../src/kernels/choose.ts'
import { planGraph } from '../../src/plan/plan.ts'
import { evaluate } from '../../src/run/reference/evaluate.ts'
import { capabilitiesOf } from '../../src/run/webgpu/capabilities.ts'
import { loadPrograms } from '../../src/run/webgpu/load-programs.ts'
import { Program } from '../../src/run/webgpu/program.ts'
import { WebGpuSession } from '../../src/run/webgpu/session.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { allCases } from '../../test/cases/all.ts'
import { buildCase, epsilons, sourceOf, worst } from '../../test/cases/case.ts'
import { plannedNodes } from '../../test/run-planned.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    kind: { type: 'string', default: 'gpu' },
    ops: { type: 'string', default: Object.keys(allCases).join(',') },
    seconds: { type: 'string', default: '120' },
  },
})
const dtypes = (positionals[0] ?? 'f16,f32').split(',') as StorageDType[]
const device = await openDevice({ kind: values.kind as 'gpu' | 'software', browserLike: values.browser })
const capabilities = capabilitiesOf(device)
const deadline = performance.now() + Number(values.seconds) * 1000
const counts = new Map<string, { passed: number; failed: number; worst: number }>()

for (const [op, cases] of Object.entries(allCases).filter(([name]) => values.ops.split(',').includes(name)))
  for (const opCase of cases) {
    if (performance.now() > deadline) continue
    const { graph, inputs, params } = buildCase(opCase)
    const source = sourceOf(params, graph)
    const want = evaluate(graph, inputs, params).get('out')!
    for (const dtype of dtypes) {
      const node = plannedNodes(graph, dtype, capabilities)[0]
      if (!node) continue
      const { family, request } = node
      const choices = family.variants.flatMap((variant) =>
        tuningsFor(variant, request, false)
          .filter((tuning) => variant.supports(request, tuning))
          .map((tuning) => ({ variant, tuning })),
      )
      const plans = choices.map(({ variant, tuning }) =>
        planGraph(graph, {
          dtype,
          capabilities,
          choose: () => ({
            variant: variant.name,
            params: tuning,
            kernel: variant.emit(request, tuning),
            cost: 0,
            prepared: (index) => variant.prepare?.(request, tuning, index),
          }),
        }),
      )
      await Promise.allSettled(plans.map((plan) => Program.pipelines(device, plan)))
      for (const [i, { variant, tuning }] of choices.entries()) {
        const key = `${op} ${variant.name} ${dtype}`
        const count = counts.get(key) ?? { passed: 0, failed: 0, worst: 0 }
        counts.set(key, count)
        try {
          const plan = plans[i]!
          const { program } = await loadPrograms(device, { plan }, source, { dtype })
          const session = new WebGpuSession(plan, program)
          const outputs = await session.run(inputs)
          session.dispose()
          const { units, text } = worst(outputs.out!, want, epsilons[dtype])
          count.worst = Math.max(count.worst, units)
          if (units <= variant.tolerance[dtype]) count.passed++
          else {
            count.failed++
            console.log(
              `${key} ${opCase.name} ${JSON.stringify(tuning)}: ${text}; ${units.toPrecision(3)} units, ${variant.tolerance[dtype]} allowed`,
            )
          }
        } catch (error) {
          count.failed++
          console.log(`${key} ${opCase.name} ${JSON.stringify(tuning)}: ${String(error).slice(0, 300)}`)
        }
      }
    }
  }
for (const [key, { passed, failed, worst: most }] of counts)
  console.log(`${key}: ${passed} passed, ${failed} failed, worst ${most.toPrecision(3)}`)
const sum = (of: 'passed' | 'failed') => [...counts.values()].reduce((a, c) => a + c[of], 0)
console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
process.exit(sum('failed') > 0 ? 1 : 0)
