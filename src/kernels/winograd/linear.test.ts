import { describe, expect, it } from 'vitest'
import { linearSteps, type Step, stepText, unusedInputs } from './linear.ts'
import { finitePoints, type Matrix, toomCook } from './matrices.ts'

function run(steps: readonly Step[], values: Record<string, number>): Record<string, number> {
  for (const { name, terms } of steps) values[name] = terms.reduce((sum, [c, term]) => sum + c * values[term]!, 0)
  return values
}

const inputs = (matrix: Matrix) => matrix[0]!.map((_, k) => `x${k}`)
const outputs = (matrix: Matrix) => matrix.map((_, i) => `y${i}`)

describe('linearSteps', () => {
  for (const m of [2, 4, 6, 8] as const)
    for (const [set, points] of Object.entries(finitePoints[m]))
      for (const [name, matrix] of Object.entries(toomCook(m, points)).filter(([, value]) => Array.isArray(value)))
        it(`F(${m}×${m}) ${set}: ${name}`, () => {
          const x = inputs(matrix as Matrix).map((_, k) => Math.sin(k + 1))
          const steps = linearSteps(matrix as Matrix, inputs(matrix as Matrix), outputs(matrix as Matrix))
          const got = run(steps, Object.fromEntries(x.map((value, k) => [`x${k}`, value])))
          for (const [i, row] of (matrix as Matrix).entries())
            expect(got[`y${i}`]).toBeCloseTo(
              row.reduce((sum, c, k) => sum + c * x[k]!, 0),
              10,
            )
        })

  it('computes what two rows share once', () => {
    const { bt } = toomCook(4, finitePoints[4].roots!)
    const multiplications = linearSteps(bt, inputs(bt), outputs(bt))
      .flatMap(({ terms }) => terms)
      .filter(([c]) => Math.abs(c) !== 1).length
    expect(multiplications).toBe(8)
  })

  it('gives a row of zeros the value zero', () => {
    expect(linearSteps([[0, 0]], ['a', 'b'], ['y']).map(stepText)).toEqual(['let y = vec4<f32>();'])
  })
})

it('unusedInputs names the columns that are all zero', () => {
  expect(unusedInputs([[0, 1, 0], [0, 2, 3]])).toEqual(new Set([0])) // biome-ignore format: a matrix
})

it('stepText writes signs and drops ones', () => {
  expect(stepText({ name: 'y', terms: [[-1, 'a'], [0.5, 'b'], [-2, 'c']] })).toBe('let y = -a + 0.5f * b - 2.0f * c;') // biome-ignore format: short
})
