import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Lifetime, liveLowerBound, placeTensors } from './arena.ts'

const lifetimes = fc.array(
  fc
    .record({ sizeBytes: fc.integer({ min: 1, max: 5000 }), first: fc.nat(40), length: fc.nat(15) })
    .map(({ sizeBytes, first, length }): Lifetime => ({ sizeBytes, first, last: first + length })),
  { maxLength: 60 },
)

test('no two tensors that live at the same time overlap, none crosses a page, offsets are aligned', () => {
  fc.assert(
    fc.property(lifetimes, fc.constantFrom(5120, 8192, 1 << 20), (tensors, pageBytes) => {
      const { offsets, sizeBytes } = placeTensors(tensors, { alignment: 256, pageBytes })
      tensors.forEach((a, i) => {
        const start = offsets[i]!
        expect(start % 256).toBe(0)
        expect(Math.floor(start / pageBytes)).toBe(Math.floor((start + a.sizeBytes - 1) / pageBytes))
        expect(start + a.sizeBytes).toBeLessThanOrEqual(sizeBytes)
        tensors.slice(0, i).forEach((b, j) => {
          if (a.first > b.last || b.first > a.last) return
          expect(start >= offsets[j]! + b.sizeBytes || offsets[j]! >= start + a.sizeBytes).toBe(true)
        })
      })
      expect(sizeBytes).toBeGreaterThanOrEqual(liveLowerBound(tensors))
    }),
  )
})

test('a tensor that dies makes room', () => {
  const tensors = [
    { sizeBytes: 512, first: 0, last: 1 },
    { sizeBytes: 512, first: 1, last: 2 },
    { sizeBytes: 512, first: 2, last: 3 },
  ]
  expect(placeTensors(tensors, { alignment: 256, pageBytes: 1 << 20 }).sizeBytes).toBe(1024)
  expect(liveLowerBound(tensors)).toBe(1024)
})

test('a tensor larger than a page is refused', () => {
  expect(() => placeTensors([{ sizeBytes: 513, first: 0, last: 0 }], { alignment: 256, pageBytes: 512 })).toThrow(
    RangeError,
  )
})

test('of layouts that are as small the one of least cost is taken, of larger ones only within the room there is', () => {
  const options = { alignment: 256, pageBytes: 1 << 20 }
  const beside: Lifetime[] = [
    { sizeBytes: 256, first: 0, last: 3 },
    { sizeBytes: 512, first: 0, last: 0 },
  ]
  const [low, high] = [1, -1].map((sign) => placeTensors(beside, options, ({ offsets }) => sign * offsets[0]!))
  expect([low, high]).toEqual([
    { offsets: [0, 256], sizeBytes: 768 },
    { offsets: [512, 0], sizeBytes: 768 },
  ])

  const staggered: Lifetime[] = [
    { sizeBytes: 1024, first: 2, last: 4 },
    { sizeBytes: 256, first: 0, last: 2 },
    { sizeBytes: 512, first: 3, last: 4 },
  ]
  const sizeWithin = (roomBytes: number) =>
    placeTensors(staggered, { ...options, roomBytes }, ({ sizeBytes }) => -sizeBytes).sizeBytes
  expect([0, 1536, 1791, 1792].map(sizeWithin)).toEqual([1536, 1536, 1536, 1792])
})
