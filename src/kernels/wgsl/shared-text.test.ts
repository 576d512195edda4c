import { describe, expect, test } from 'vitest'
import type { Kernel } from '../family.ts'
import { sizeText } from './number.ts'
import { withSharedTexts } from './shared-text.ts'

const text = (rows: number, channels: number) => `enable f16;
@group(0) @binding(0) var<storage, read_write> x: array<f16>;
fn at(row: u32) -> f16 { return x[row * ${sizeText(channels)}]; }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>) {
  for (var r = 0u; r < ${sizeText(rows)}; r++) { x[r] = at(r + 4u); }
}
`

const kernel = (...texts: string[]): Kernel => ({
  dispatches: texts.map((wgsl) => ({
    label: 'copy',
    wgsl,
    bindings: [{ kind: 'input', index: 0 }],
    workgroups: [1, 1, 1],
  })),
  scratch: [],
  constants: [[7, 7, 7]],
})

describe('shared texts', () => {
  test('have the sizes in a constant of their own', () => {
    const { dispatches, constants } = withSharedTexts(kernel(text(3, 96), text(5, 7)))
    expect(constants).toEqual([
      [7, 7, 7],
      [96, 3, 0, 0],
      [7, 5, 0, 0],
    ])
    expect(dispatches.map(({ bindings }) => bindings[1])).toEqual([
      { kind: 'constant', index: 1 },
      { kind: 'constant', index: 2 },
    ])
    expect(dispatches[0]!.wgsl).toBe(`enable f16;
@group(0) @binding(1) var<uniform> numbers: array<vec4<u32>, 1>;
var<private> size0: u32;
@group(0) @binding(0) var<storage, read_write> x: array<f16>;
fn at(row: u32) -> f16 { return x[row * size0]; }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>) {
  size0 = numbers[0].x;
  let size1 = numbers[0].y;
  for (var r = 0u; r < size1; r++) { x[r] = at(r + 4u); }
}
`)
  })

  test('are the same for all shapes', () => {
    const { dispatches } = withSharedTexts(kernel(text(3, 96), text(5, 7)))
    expect(dispatches[0]!.wgsl).toBe(dispatches[1]!.wgsl)
  })

  test('without sizes stay as they are', () => {
    const plain = kernel('@compute @workgroup_size(1)\nfn main() {}\n')
    expect(withSharedTexts(plain)).toEqual(plain)
  })
})
