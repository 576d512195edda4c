// Which kernel comes first once some were measured: pure numbers, no kernel behind them.
import { describe, expect, it } from 'vitest'
import type { Candidate } from '../kernels/choose.ts'
import { byMeasurement, candidateName, likeliest } from './measured-choices.ts'

const candidate = (variant: string, cost: number, scratch: readonly number[] = []): Candidate => ({
  ...{ variant, params: { tile: 4 }, cost },
  scratch: () => scratch,
  choice: () => {
    throw new Error('nothing of this is emitted')
  },
})
const estimated = [candidate('a', 100), candidate('b', 120), candidate('c', 150), candidate('d', 400)]
const times = (of: Readonly<Record<string, number>>) =>
  new Map(Object.entries(of).map(([variant, time]) => [candidateName({ variant, params: { tile: 4 } }), time]))
const ranking = (of: Readonly<Record<string, number>>) =>
  byMeasurement(estimated, times(of)).map(({ variant, cost }) => [variant, cost])

describe('byMeasurement', () => {
  it('leaves the estimates where nothing was measured', () => {
    expect(byMeasurement(estimated, new Map())).toBe(estimated)
  })

  it('puts times in the place of estimates, and scales the estimates that are left', () => {
    expect(ranking({ a: 50, b: 20 })).toEqual([
      ['b', 20],
      ['a', 50],
      ['c', 75],
      ['d', 200],
    ])
  })

  it('keeps the favourite of the estimates unless another is clearly faster', () => {
    expect(ranking({ a: 100, b: 98, c: 99 }).map(([variant]) => variant)).toEqual(['a', 'b', 'c', 'd'])
    expect(ranking({ a: 100, b: 96, c: 98 }).map(([variant]) => variant)).toEqual(['b', 'a', 'c', 'd'])
  })

  it('puts last what does not compile, the favourite too', () => {
    const infinite = Number.POSITIVE_INFINITY
    expect(ranking({ a: infinite, b: 60, c: 90 }).map(([variant]) => variant)).toEqual(['b', 'c', 'd', 'a'])
    expect(byMeasurement(estimated, times({ a: infinite }))).toBe(estimated)
  })

  it('does not take times of other parameters', () => {
    const others = new Map([[candidateName({ variant: 'a', params: { tile: 8 } }), 1]])
    expect(byMeasurement(estimated, others)).toBe(estimated)
  })
})

describe('likeliest', () => {
  const names = (candidates: readonly Candidate[]) => candidates.map(({ variant }) => variant).join('')
  it('takes what is near the cheapest estimate', () => {
    expect(names(likeliest(estimated, 0))).toBe('abc')
  })

  it('passes over what finds no room for its scratch, and measures nearness from what does', () => {
    const big = [candidate('x', 100, [600, 600]), candidate('y', 200, [600]), candidate('z', 450)]
    expect(names(likeliest(big, 1000))).toBe('yz')
    expect(names(likeliest(big, 1200))).toBe('xy')
  })

  it('takes four at most', () => {
    expect(
      names(
        likeliest(
          [...'abcdef'].map((name) => candidate(name, 1)),
          0,
        ),
      ),
    ).toBe('abcd')
  })
})
