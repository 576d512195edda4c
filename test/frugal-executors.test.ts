// Divided graphs on real executors: within 1e-5 of the undivided in f32, and in f16 as near as rounding lets them. Bands lie in
// parts of tensors, results in places in joins: strides and offsets that no undivided graph has. In f16 SwiftShader runs the form
// that divides most alone (thinning.ts): accessors are the same for every form.
import { afterAll, describe, expect, it } from 'vitest'
import type { Graph } from '../src/graph/graph.ts'
import type { Executor, ParameterSource } from '../src/run/executor.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import { sourceOf } from './cases/case.ts'
import { testColumns } from './golden/executors.ts'
import { formsOf, smallGraphs, valuesFor } from './small-graphs.ts'
import { everything } from './thinning.ts'

/** Several forms of each graph: the first divides least, the last most. */
const cases = Object.entries(smallGraphs).flatMap(([name, build]) => {
  const { plain, frugal, onLoad } = formsOf(build)
  const some = [0, Math.floor(frugal.length / 3), frugal.length - 1].map((i) => frugal[i]!)
  // The model's own parameters: those that passes stack are put together from them.
  const source = sourceOf(new Map([...build().params].map(([key, value]) => [key, valuesFor(value)])), build())
  return [
    ...some.map((form, i) => ({ name: `${name}, ${form.name}`, plain, divided: form.graph, source, most: i === 2 })),
    ...onLoad.map((form, i) => ({ name: `${name}, ${form.name}`, plain, divided: form.graph, source, most: i === 1 })),
  ]
})

async function run(
  executor: Executor,
  graph: Graph,
  source: ParameterSource,
  dtype: StorageDType,
): Promise<Record<string, Float32Array>> {
  const inputs = Object.fromEntries([...graph.inputs].map(([name, value]) => [name, valuesFor(value)]))
  const session = await executor.load(graph, source, { dtype })
  try {
    return await session.run(inputs)
  } finally {
    session.dispose()
  }
}

/** Of outputs of size 1: f32 as promised; a value in f16 is rounded some dozen times on the way through a model. */
const tolerances = { f32: 1e-5, f16: 2e-2 } as const

describe.each(await testColumns())('$name $dtype', ({ name, backend: { executor }, dtype }) => {
  const known = new Map<Graph, Promise<Record<string, Float32Array>>>()
  afterAll(() => known.clear())

  const inTurn = cases.filter(({ most }) => everything || most || name !== 'swiftshader' || dtype === 'f32')
  it.each(inTurn)('$name', async ({ plain, divided, source }) => {
    if (!known.has(plain)) known.set(plain, run(executor, plain, source, dtype))
    const [want, got] = [await known.get(plain)!, await run(executor, divided, source, dtype)]
    for (const [output, values] of Object.entries(got)) {
      const expected = want[output]!
      const size = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length)
      const off = values.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0)
      expect(off / size, output).toBeLessThan(tolerances[dtype])
    }
  })
})
