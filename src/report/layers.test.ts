import { expect, test } from 'vitest'
import { layerOf, readableDepth } from './layers.ts'

test('numbers belong to the module before them', () => {
  expect(layerOf('down_blocks.0.resnets.1.conv1', 1)).toBe('down_blocks.0')
  expect(layerOf('down_blocks.0.resnets.1.conv1', 2)).toBe('down_blocks.0.resnets.1')
  expect(layerOf('attn1.to_out.0', 2)).toBe('attn1.to_out.0')
  expect(layerOf('conv_in', 3)).toBe('conv_in')
  expect(layerOf('', 1)).toBe('(the graph itself)')
})

test('the depth that is chosen tells layers apart', () => {
  const blocks = Array.from({ length: 8 }, (_, i) => `model.blocks.${i}`)
  const scopes = blocks.flatMap((block) => [`${block}.attn.q`, `${block}.mlp.fc1`])
  expect(readableDepth(scopes)).toBe(3)
  expect(readableDepth(['a.b.c.d.e'])).toBe(4)
})
