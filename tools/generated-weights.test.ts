import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generatedWeight } from './generated-weights.ts'

interface Vector {
  readonly shape: readonly number[]
  readonly first8_f16_bits: readonly number[]
}

test('the formula gives the published first values of every vector', () => {
  const file = new URL('../test/golden/data/fullsize/fullsize.json', import.meta.url)
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: Record<string, Vector> }
  expect(Object.keys(vectors).length).toBeGreaterThanOrEqual(8)
  for (const [key, { shape, first8_f16_bits }] of Object.entries(vectors))
    expect([...generatedWeight(key, shape, 0, first8_f16_bits.length)], key).toEqual(first8_f16_bits)
})
