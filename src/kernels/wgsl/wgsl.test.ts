// The text pieces alone: numbers, grids, trees, broadcasting. What the text computes is tested on an adapter in test/.
import { describe, expect, test } from 'vitest'
import { binary, constant, type Expr, input, siluExpr, unary } from '../../graph/expr.ts'
import type { Limits, Operand } from '../family.ts'
import { broadcastLoad } from './epilogue.ts'
import { exprFunction, mathText } from './expr.ts'
import { splitGrid } from './grid.ts'
import { ioText, type NamedOperand } from './io.ts'
import { f32Text, u32Text } from './number.ts'

const limits = (maxComputeWorkgroupsPerDimension: number) => ({ maxComputeWorkgroupsPerDimension }) as Limits

function operand(shape: readonly number[], slot = 0, fields: Partial<Operand> = {}): Operand {
  const channels = shape.at(-1)!
  const groups4 = Math.ceil(channels / 4)
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1)
  return {
    slot,
    shape,
    storage: 'f32',
    rows,
    channels,
    groups4,
    stride4: groups4,
    offset4: 0,
    space: 'arena',
    ...fields,
  }
}

describe('numbers', () => {
  test('are f32, with full digits, negatives in parentheses', () => {
    expect([1, -0.95, 1e-7, 3e38, -0].map(f32Text)).toEqual([
      '1.0f',
      '(-0.949999988079071f)',
      '1.0000000116860974e-7f',
      '3.0000000054977558e+38f',
      '(-0.0f)',
    ])
  })

  test('that WGSL cannot hold raise', () => {
    for (const bad of [1e39, Number.NaN, Number.NEGATIVE_INFINITY]) expect(() => f32Text(bad)).toThrow('finite')
    for (const bad of [-1, 0.5, 2 ** 32]) expect(() => u32Text(bad)).toThrow('u32')
  })
})

describe('grids', () => {
  test.each([
    [1, 8],
    [8, 8],
    [9, 8],
    [64, 8],
    [65, 8],
    [511, 8],
    [100_003, 65535],
  ])('%i workgroups, %i a dimension', (n, max) => {
    const { workgroups, index, overshoots } = splitGrid(n, limits(max))
    const [x, y, z] = workgroups
    expect(Math.max(x, y, z)).toBeLessThanOrEqual(max)
    expect(x * y * z).toBeGreaterThanOrEqual(n)
    expect(overshoots).toBe(x * y * z > n)
    const number = new Function('wid', `return ${index.replaceAll(/u32\((\d+)\)/g, '$1')}`)
    const seen = new Set<number>()
    for (let k = 0; k < z; k++) {
      for (let j = 0; j < y; j++) for (let i = 0; i < x; i++) seen.add(number({ x: i, y: j, z: k }))
    }
    expect(seen.size).toBe(x * y * z)
    expect(Math.max(...[...seen].slice(-1))).toBe(x * y * z - 1)
  })
})

describe('trees', () => {
  test('name shared nodes once', () => {
    const shared = unary('exp', input(0))
    const text = exprFunction('f', binary('add', shared, binary('mul', shared, constant(-2))), 2)
    expect(text).toBe(`fn f(x0: vec4<f32>, x1: vec4<f32>) -> vec4<f32> {
  let t0 = exp(x0);
  return (t0 + (t0 * vec4<f32>((-2.0f))));
}
`)
  })

  test('stay linear in size where sharing is deep', () => {
    let deep: Expr = input(0)
    for (let i = 0; i < 40; i++) deep = binary('add', deep, deep)
    expect(exprFunction('f', deep, 1).split('\n').length).toBeLessThan(50)
  })

  test('bring the functions they call, each once', () => {
    const text = mathText([siluExpr(input(0)), unary('erf', siluExpr(input(1)))])
    expect(text.match(/fn \w+/g)).toEqual(['fn erf4', 'fn sigmoid4'])
  })
})

describe('broadcasting', () => {
  const at = (shape: readonly number[], output: readonly number[]) =>
    broadcastLoad('e', operand(shape), output, 'row', 'group')

  test.each([
    [[2, 8, 8, 12], [2, 8, 8, 12], 'load_e((row), group)'],
    [[12], [2, 8, 8, 12], 'load_e(0u, group)'],
    [[1, 1, 1, 12], [2, 8, 8, 12], 'load_e(0u, group)'],
    [[2, 1, 1, 12], [2, 8, 8, 12], 'load_e((row / u32(64)), group)'],
    [[1, 8, 8, 12], [2, 8, 8, 12], 'load_e(((row) % u32(64)), group)'],
    [[2, 9, 1], [2, 9, 12], 'vec4<f32>(load_e((row), 0u).x)'],
    [[2, 1, 5, 12], [2, 3, 5, 12], 'load_e(((row) % u32(5)) + (row / u32(15)) * u32(5), group)'],
    [[1], [1, 1], 'load_e(0u, group)'],
  ])('%j in %j', (shape, output, text) => {
    expect(at(shape, output)).toBe(text)
  })
})

describe('bindings', () => {
  const named = (name: string, op: Operand, role: NamedOperand['role']): NamedOperand => ({ name, operand: op, role })

  test('are one a slot; read only where nothing but weights lies', () => {
    const io = ioText([
      named('x', operand([4, 8], 3), { kind: 'input', index: 0 }),
      named('w', operand([8, 8], 9, { space: 'weight', storage: 'f16-packed' }), { kind: 'input', index: 1 }),
      named('y', operand([4, 8], 3), { kind: 'output' }),
    ])
    expect(io.bindings).toEqual([
      { kind: 'input', index: 0 },
      { kind: 'input', index: 1 },
    ])
    expect(io.text.match(/var<[^;]*;/g)).toEqual([
      'var<storage, read_write> buffer_x: array<vec4<f32>>;',
      'var<storage, read> buffer_w: array<vec2<u32>>;',
    ])
    expect(io.enables).toBe('')
  })

  test('of one slot agree in storage', () => {
    const clash = [
      named('x', operand([4, 8], 3), { kind: 'input', index: 0 }),
      named('y', operand([4, 8], 3, { storage: 'f16' }), { kind: 'output' }),
    ]
    expect(() => ioText(clash)).toThrow('x (f32), y (f16) share slot 3')
  })

  test('zero the channels beyond the last on store', () => {
    const io = ioText([named('y', operand([4, 6]), { kind: 'output' })])
    expect(io.text).toContain('select(v, vec4<f32>(v.x, v.y, 0.0, 0.0), group == u32(1))')
  })
})
