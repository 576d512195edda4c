import { expect, it } from 'vitest'
import { combine, difference, only, pushHistory } from './row.ts'
import { applyStage, type Stage } from './stage.ts'

const stage = (more: Partial<Stage>): Stage => ({
  timestep: 1,
  inputScale: 1,
  denoised: { x: 1, model: -1 },
  updates: [],
  drawsNoise: false,
  ...more,
})

it('computes all updates from the old values', () => {
  const slots = { x: Float32Array.of(1, 2), d1: Float32Array.of(10, 20), d2: Float32Array.of(7, 7) }
  applyStage(
    stage({ updates: [{ slot: 'x', terms: { x: 2, d1: 1 } }, ...pushHistory(['d1', 'd2'], only('denoised'))] }),
    slots,
    Float32Array.of(0.5, 0.5),
  )
  expect(slots.x).toEqual(Float32Array.of(12, 24))
  expect(slots.d1).toEqual(Float32Array.of(0.5, 1.5))
  expect(slots.d2).toEqual(Float32Array.of(10, 20))
})

it('clamps denoised, leaves other slots alone, and adds noise', () => {
  const slots = { x: Float32Array.of(5, -5, 0.25), base: Float32Array.of(1, 2, 3) }
  const terms = { denoised: 1, noise: 0.5, model: 0 }
  applyStage(
    stage({ denoised: { x: 1, model: 0, clip: 1 }, updates: [{ slot: 'x', terms }] }),
    slots,
    new Float32Array(3),
    Float32Array.of(2, 0, -2),
  )
  expect(slots.x).toEqual(Float32Array.of(2, -1, -0.75))
  expect(slots.base).toEqual(Float32Array.of(1, 2, 3))
})

it('empties a slot whose row has no terms', () => {
  const slots = { x: Float32Array.of(1), sum: Float32Array.of(4) }
  applyStage(stage({ updates: [{ slot: 'sum', terms: {} }] }), slots, Float32Array.of(1))
  expect(slots.sum).toEqual(Float32Array.of(0))
})

it('says which input is missing', () => {
  const needsNoise = stage({ updates: [{ slot: 'x', terms: { noise: 1 } }] })
  expect(() => applyStage(needsNoise, { x: new Float32Array(1) }, new Float32Array(1))).toThrow(/'noise'/)
})

it('combines rows as vectors, dropping what is switched off', () => {
  expect(combine([2, { x: 1, d1: 3 }], [-1, { d1: 1, model: 4 }])).toEqual({ x: 2, d1: 5, model: -4 })
  expect(combine([0, { x: Number.POSITIVE_INFINITY }], [1, { d1: 0 }])).toEqual({})
  expect(difference(0.5, only('x'), only('denoised'))).toEqual({ x: 0.5, denoised: -0.5 })
})
