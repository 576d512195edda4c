import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Graph } from '../../graph/graph.ts'
import { concat } from '../../ops/concat.ts'
import { conv2d } from '../../ops/conv2d.ts'
import { groupNorm } from '../../ops/group-norm.ts'
import { linear } from '../../ops/matmul.ts'
import { add, silu } from '../../ops/pointwise.ts'
import { reshape } from '../../ops/reshape.ts'
import { elementCount } from '../../ops/shapes.ts'
import { f32ToF16, fromF16Bits, toF16Bits } from '../../tensor/dtype.ts'
import type { ParameterSource } from '../executor.ts'
import { evaluate } from '../reference/evaluate.ts'
import { onnxExecutor } from './executor.ts'
import { cutGraph } from './segments.ts'

/** A small net with a skip connection over most of it, image and token outputs, and an input that is used twice. */
function net(): Graph {
  const graph = new Graph('net')
  const g = graph.scope()
  const x = graph.input('x', [2, 6, 5, 4])
  const time = graph.input('time', [2, 8])
  const first = conv2d(g.scope('conv_in'), x, 8, { kernel: 3, padding: 1 })
  let h = first
  for (let i = 0; i < 4; i++) {
    const block = g.scope(`blocks.${i}`)
    const temb = reshape(linear(block.scope('time'), silu(time), 8), [2, 1, 1, 8])
    h = add(
      conv2d(block.scope('conv'), silu(groupNorm(block.scope('norm'), h, { groups: 2, epsilon: 1e-5 })), 8, {
        kernel: 3,
        padding: 1,
      }),
      temb,
    )
  }
  graph.output('tokens', reshape(h, [2, 30, 8]))
  graph.output('image', conv2d(g.scope('conv_out'), concat([h, first]), 3, { kernel: 1 }))
  return graph
}

const graph = net()
const wave = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => fromF16Bits(toF16Bits(Math.sin(seed + 1.7 * i) / 4)))
const inputs = { x: wave(240, 1), time: wave(16, 2) }
const params = new Map([...graph.params].map(([name, { shape }], i) => [name, wave(elementCount(shape), i)]))
const want = evaluate(graph, inputs, params)

function deviation(got: Readonly<Record<string, Float32Array>>): number {
  let largest = 0
  for (const [name, { data }] of want) {
    expect(got[name]).toHaveLength(data.length)
    data.forEach((value, i) => {
      largest = Math.max(largest, Math.abs(value - got[name]![i]!))
    })
  }
  return largest
}

const folder = mkdtempSync(join(tmpdir(), 'phosphene-onnx-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Tensors one after the other in a file from an odd offset on, in turns of these types. */
function fileSource(path: string, types: readonly ('F32' | 'F16' | 'F64')[]): ParameterSource {
  const parts: Uint8Array[] = [new Uint8Array(13)]
  const tensors = new Map<string, { dtype: 'F32' | 'F16' | 'F64'; shape: readonly number[] }>()
  const places = new Map<string, { path: string; offset: number; length: number }>()
  const bytes = new Map<string, Uint8Array>()
  let offset = 13
  for (const [i, [name, values]] of [...params].entries()) {
    const dtype = types[i % types.length]!
    const elements = dtype === 'F32' ? values : dtype === 'F16' ? f32ToF16(values) : Float64Array.from(values)
    const raw = new Uint8Array(elements.buffer)
    tensors.set(name, { dtype, shape: graph.params.get(name)!.shape })
    bytes.set(name, raw)
    places.set(name, { path, offset, length: raw.length })
    parts.push(raw)
    offset += raw.length
  }
  writeFileSync(path, Buffer.concat(parts))
  return { label: path, tensors, read: async (name) => bytes.get(name)!, locate: (name) => places.get(name) }
}

mkdirSync(join(folder, 'store'))
writeFileSync(join(folder, 'store', 'blob'), '')
symlinkSync(join(folder, 'store', 'blob'), join(folder, 'linked.safetensors'))
const sources = {
  mapped: fileSource(join(folder, 'linked.safetensors'), ['F32', 'F16']),
  read: fileSource(join(folder, 'plain.safetensors'), ['F32', 'F16', 'F64']),
}
const source = sources.mapped

describe('cutGraph', () => {
  it('keeps the order of nodes and hands on what later segments use', () => {
    const segments = cutGraph(graph, 1e4)
    expect(segments.length).toBeGreaterThan(3)
    expect(segments.flatMap((each) => each.nodes)).toEqual(graph.nodes)
    const known = new Set([...graph.inputs.values()])
    for (const segment of segments) {
      for (const value of segment.inputs) expect(known.has(value), value.name).toBe(true)
      for (const value of segment.outputs) known.add(value)
    }
    for (const value of graph.outputs.values()) expect(known.has(value), value.name).toBe(true)
  })
})

describe('onnxExecutor', () => {
  it.each([
    ['f32', 'mapped', undefined, 1e-5],
    ['f32', 'mapped', 1e4, 1e-5],
    ['f32', 'read', 1e4, 1e-5],
    ['f16', 'mapped', undefined, 1e-2],
    ['f16', 'mapped', 1e4, 1e-2],
    ['f16', 'read', undefined, 1e-2],
  ] as const)('runs in %s, weights %s, segments of %s', async (dtype, place, segmentMacs, bound) => {
    const executor = await onnxExecutor({ ...(segmentMacs ? { segmentMacs } : {}) })
    const progress: number[] = []
    const session = await executor.load(graph, sources[place], {
      dtype,
      onProgress: (done, total) => progress.push(done / total),
    })
    expect(progress.at(-1)).toBe(1)
    expect(deviation(await session.run(inputs))).toBeLessThan(bound)
    expect(deviation(await session.run(inputs))).toBeLessThan(bound)
    session.dispose()
  })

  it('stops between segments', async () => {
    const executor = await onnxExecutor({ segmentMacs: 1e4 })
    const session = await executor.load(graph, source, { dtype: 'f32' })
    let asked = 0
    const signal = Object.defineProperty(new AbortController().signal, 'aborted', { get: () => ++asked === 3 })
    await expect(session.run(inputs, signal)).rejects.toMatchObject({ code: 'aborted' })
    expect(asked).toBe(3) // before the third segment, not at the end
    expect(deviation(await session.run(inputs))).toBeLessThan(1e-5)
    session.dispose()
  })

  it('names the tensor that is missing or of another shape', async () => {
    const executor = await onnxExecutor()
    const load = (change: (tensors: Map<string, { dtype: 'F32' | 'F16'; shape: readonly number[] }>) => void) => {
      const tensors = new Map(source.tensors) as Map<string, { dtype: 'F32' | 'F16'; shape: readonly number[] }>
      change(tensors)
      return executor.load(graph, { ...source, tensors }, { dtype: 'f32' })
    }
    await expect(load((tensors) => tensors.delete('conv_in.bias'))).rejects.toMatchObject({
      code: 'weights/missing-key',
      message: expect.stringContaining('conv_in.bias [8]'),
    })
    await expect(load((tensors) => tensors.set('conv_in.bias', { dtype: 'F32', shape: [9] }))).rejects.toMatchObject({
      code: 'weights/shape',
      message: expect.stringContaining('conv_in.bias is [9], the model takes [8]'),
    })
  })
})
