// Stacked parameters are their parts' bytes in order, however much of them is asked for at a time.
import { describe, expect, it } from 'vitest'
import { Graph } from '../graph/graph.ts'
import { toFloat16 } from '../tensor/convert.ts'
import type { ParameterSource } from './executor.ts'
import { withStacked } from './stacked-parameters.ts'

const bytesOf = (values: Float32Array | Uint16Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
const a = Float32Array.from([1, 2, 3, 4, 5, 6])
const b = Float32Array.from([7, 8, 9])

function source(dtypeOfB: 'F32' | 'F16', shapeOfB: readonly number[] = [1, 3]): ParameterSource {
  const half = toFloat16(bytesOf(b), 'F32')
  const data = new Map([
    ['a', bytesOf(a)],
    ['b', bytesOf(dtypeOfB === 'F32' ? b : half)],
    ['other', Uint8Array.of(1, 2, 3, 4)],
  ])
  return {
    label: 'test',
    tensors: new Map([
      ['a', { dtype: 'F32', shape: [2, 3] }],
      ['b', { dtype: dtypeOfB, shape: shapeOfB }],
      ['other', { dtype: 'F32', shape: [1] }],
    ]),
    read: async (name) => data.get(name)!,
    async readInto(name, offset, target) {
      target.set(data.get(name)!.subarray(offset, offset + target.length))
    },
    locate: (name) => ({ path: name, offset: 0, length: 4 }),
  }
}

function graph(parts = ['a', 'b']): Graph {
  const result = new Graph('test')
  result.param('both', [3, 3], parts)
  result.param('other', [1])
  return result
}

describe('withStacked', () => {
  it.each(['F32', 'F16'] as const)('joins parts, the second in %s', async (dtype) => {
    const view = withStacked(graph(), source(dtype))
    expect(view.tensors.get('both')).toEqual({ dtype: 'F32', shape: [3, 3] })
    const whole = bytesOf(Float32Array.from([...a, ...b]))
    expect(Buffer.compare(await view.read('both'), whole)).toBe(0)
    for (const [offset, length] of [
      [0, 36],
      [4, 8],
      [20, 8],
      [24, 12],
      [35, 1],
    ] as const) {
      const target = new Uint8Array(length)
      await view.readInto!('both', offset, target)
      expect([...target]).toEqual([...whole.subarray(offset, offset + length)])
    }
    expect(view.locate('both')).toBeUndefined()
    expect(await view.read('other')).toEqual(Uint8Array.of(1, 2, 3, 4))
    expect(view.locate('other')).toBeDefined()
  })

  it('says which part is missing, and shows a part of another shape as a shape that no graph takes', () => {
    expect(() => withStacked(graph(['a', 'c']), source('F32'))).toThrow(/no tensor c/)
    expect(withStacked(graph(), source('F32', [3, 1])).tensors.get('both')!.shape).toEqual([5])
  })

  it('is the source itself where nothing is stacked', () => {
    const plain = new Graph('test')
    plain.param('a', [2, 3])
    const own = source('F32')
    expect(withStacked(plain, own)).toBe(own)
  })
})
