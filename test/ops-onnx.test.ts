// Every case on ONNX Runtime's CPU provider, against the f64 reference: two implementations that share nothing.
import { afterAll, describe, expect, it } from 'vitest'
import type { RefResult } from '../src/graph/op.ts'
import type { OpName } from '../src/ops/ops.ts'
import { onnxExecutor } from '../src/run/onnx/executor.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { allCases } from './cases/all.ts'
import { buildCase, epsilons, type OpCase, sourceOf, worst } from './cases/case.ts'

/** In epsilon · scale. Elements that only move may still pass an epilogue; f16 rounds once, at the end. */
const tolerances: Readonly<Record<OpName, { readonly f32: number; readonly f16: number }>> = {
  attention: { f32: 2, f16: 1 },
  channelMoments: { f32: 4, f16: 1 },
  concat: { f32: 1, f16: 1 },
  conv2d: { f32: 4, f16: 1 },
  embedding: { f32: 1, f16: 1 },
  groupMoments: { f32: 4, f16: 1 },
  groupNorm: { f32: 2, f16: 1 },
  joinRows: { f32: 1, f16: 1 },
  layerNorm: { f32: 2, f16: 1 },
  matmul: { f32: 4, f16: 1 },
  normalise: { f32: 2, f16: 1 },
  pointwise: { f32: 4, f16: 1 },
  reshape: { f32: 1, f16: 1 },
  rowMoments: { f32: 2, f16: 1 },
  slice: { f32: 1, f16: 1 },
  sliceRows: { f32: 1, f16: 1 },
  upsample: { f32: 1, f16: 1 },
}

/**
 * ONNX Runtime computes the logistic function as 0.5 + 0.5 · tanh(x/2): its error is relative to 1, not to the result,
 * and multiplied by x in SiLU and quick GELU (here up to 13).
 */
function scaleOf(opCase: OpCase, want: RefResult): RefResult {
  return JSON.stringify(opCase).includes('"sigmoid"') ? { ...want, scale: want.scale.map((each) => each + 2) } : want
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
        const found = worst(got, scaleOf(opCase, want), epsilons[dtype])
        expect(found.units, `${dtype}: ${found.text}`).toBeLessThanOrEqual(tolerances[opCase.op][dtype])
      }
    })
  })
