// Every op case on a GPU, with every variant and every tuning that takes it, against the f64 reference; then those of quantised
// weights, against the numbers that the integers stand for. Usage: kernels.js [f16,f32] [--ops attention,matmul,quantised] [--part 1/4] [--browser]
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
import { type QuantisedFormat, quantisedFormats } from '../../src/tensor/quantise.ts'
import { allCases } from '../../test/cases/all.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from '../../test/cases/case.ts'
import { quantisedCases, quantisedParams } from '../../test/quantised-cases.ts'
import { plannedNodes } from '../../test/run-planned.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    kind: { type: 'string', default: 'gpu' },
    ops: { type: 'string', default: [...Object.keys(allCases), 'quantised'].join(',') },
    part: { type: 'string', default: '1/1' },
    seconds: { type: 'string', default: '120' },
  },
})
const dtypes = (positionals[0] ?? 'f16,f32').split(',') as StorageDType[]
const device = await openDevice({ kind: values.kind as 'gpu' | 'software', browserLike: values.browser })
const capabilities = capabilitiesOf(device)
const deadline = performance.now() + Number(values.seconds) * 1000
const counts = new Map<string, { passed: number; failed: number; worst: number }>()

interface Listed {
  readonly op: string
  readonly opCase: OpCase
  readonly weights?: QuantisedFormat
}

const ops = values.ops.split(',')
const [part, parts] = values.part.split('/').map(Number) as [number, number]
const listed: readonly Listed[] = [
  ...Object.entries(allCases)
    .filter(([op]) => ops.includes(op))
    .flatMap(([op, cases]) => cases.map((opCase) => ({ op, opCase }))),
  ...quantisedFormats.flatMap((weights) =>
    ops.includes('quantised')
      ? quantisedCases.map((opCase) => ({ op: `${weights} ${opCase.op}`, opCase, weights }))
      : [],
  ),
].filter((_, i) => i % parts === part - 1)
let left = 0

for (const { op, opCase, weights } of listed) {
  if (performance.now() > deadline) {
    left++
    continue
  }
  const { graph, inputs, params } = buildCase(opCase)
  const source = sourceOf(params, graph)
  const want = evaluate(graph, inputs, weights ? quantisedParams(graph, params, weights) : params).get('out')!
  for (const dtype of dtypes) {
    const node = plannedNodes(graph, dtype, capabilities, weights)[0]
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
        weights,
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
if (left > 0) console.log(`${left} cases were left when the ${values.seconds} seconds had passed`)
console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
process.exit(sum('failed') > 0 ? 1 : 0)
