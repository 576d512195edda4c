// Every case on ONNX Runtime's CPU provider, against the f64 reference: two implementations that share nothing.
import { afterAll, describe, expect, it } from 'vitest'
import type { OpName } from '../src/ops/ops.ts'
import { onnxExecutor } from '../src/run/onnx/executor.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { allCases } from './cases/all.ts'
import { buildCase, epsilons, sourceOf, worst } from './cases/case.ts'

/** In epsilon · scale; scale is the sum of the terms' sizes, so a sum in blocks stays near 1. */
const tolerances: Readonly<Record<OpName, { readonly f32: number; readonly f16: number }>> = {
  attention: { f32: 100, f16: 100 },
  concat: { f32: 100, f16: 100 },
  conv2d: { f32: 100, f16: 100 },
  embedding: { f32: 100, f16: 100 },
  groupNorm: { f32: 100, f16: 100 },
  layerNorm: { f32: 100, f16: 100 },
  matmul: { f32: 100, f16: 100 },
  pointwise: { f32: 100, f16: 100 },
  reshape: { f32: 100, f16: 100 },
  slice: { f32: 100, f16: 100 },
  upsample: { f32: 100, f16: 100 },
}

const executor = await onnxExecutor()
afterAll(() => executor.dispose())

for (const [op, cases] of Object.entries(allCases))
  describe(op, () => {
    it.each(cases)('$name', async (opCase) => {
      const { graph, inputs, params } = buildCase(opCase)
      const want = evaluate(graph, inputs, params).get('out')!
      expect(want.data.every(Number.isFinite)).toBe(true)
      for (const dtype of ['f32', 'f16'] as const) {
        const session = await executor.load(graph, sourceOf(params, graph), { dtype })
        const got = (await session.run(inputs)).out!
        session.dispose()
        const found = worst(got, want, epsilons[dtype])
        if (process.env.SHOW) console.log(op, dtype, found.units.toFixed(2), opCase.name)
        expect(found.units, `${dtype}: ${found.text}`).toBeLessThanOrEqual(tolerances[opCase.op][dtype])
      }
    })
  })
