// SD 1.5's real shapes with weights from a formula, so that full-size runs need no download. The formula is that of
// test/golden/data/README.md, whose reference numbers were computed from the same weights.
import { readFileSync } from 'node:fs'
import type { ParameterSource } from '../src/run/executor.ts'
import { f32ToF16 } from '../src/tensor/dtype.ts'

type Component = 'text_encoder' | 'unet' | 'vae'

/** Shapes by state dict key. */
export type KeyTable = Readonly<Record<Component, Readonly<Record<string, readonly number[]>>>>

const folder = new URL('../test/golden/data/fullsize/', import.meta.url)

export function readKeys(): KeyTable {
  return JSON.parse(readFileSync(new URL('keys.json', folder), 'utf8')) as KeyTable
}

export function readConfigs(): Readonly<Record<Component, unknown>> {
  return JSON.parse(readFileSync(new URL('fullsize.json', folder), 'utf8')) as Readonly<Record<Component, unknown>>
}

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** The i-th of a key's uniform values in [−1, 1), exact in f32. */
function uniform(seed: number, i: number): number {
  let x = (seed + Math.imul(i, 0x9e3779b9)) | 0
  x ^= x >>> 16
  x = Math.imul(x, 0x7feb352d)
  x ^= x >>> 15
  x = Math.imul(x, 0x846ca68b)
  x ^= x >>> 16
  return ((x >>> 8) - 8388608) / 8388608
}

/** An input of the reference runs: uniform · √3, which has variance 1. */
export function generatedInput(key: string, elements: number): Float32Array {
  const seed = fnv1a32(key)
  const scale = Math.fround(Math.sqrt(3))
  return Float32Array.from({ length: elements }, (_, i) => Math.fround(uniform(seed, i) * scale))
}

/** The f16 bits of elements `start` … `start + count` of a weight. */
export function generatedWeight(
  key: string,
  shape: readonly number[],
  start: number,
  count: number,
): Uint16Array<ArrayBuffer> {
  const seed = fnv1a32(key)
  const norm = !key.includes('embedding.weight') && key.includes('norm') && key.endsWith('.weight')
  const scale = Math.fround(
    key.includes('embedding.weight')
      ? 0.02
      : norm
        ? 0.1
        : shape.length >= 2
          ? Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1))
          : 0.02,
  )
  const values = new Float32Array(count)
  for (let j = 0; j < count; j++) values[j] = uniform(seed, start + j) * scale
  if (norm) for (let j = 0; j < count; j++) values[j] = 1 + values[j]!
  return f32ToF16(values, new Uint16Array(count)) as Uint16Array<ArrayBuffer>
}

/** A weight source without a file: tensors are computed when they are read. */
export function generatedSource(component: Component): ParameterSource {
  const keys = readKeys()[component]
  return {
    label: `generated ${component} of SD 1.5's shapes`,
    tensors: new Map(Object.entries(keys).map(([name, shape]) => [name, { dtype: 'F16' as const, shape }])),
    async read(name) {
      const shape = keys[name]!
      const bits = generatedWeight(
        name,
        shape,
        0,
        shape.reduce((a, b) => a * b, 1),
      )
      return new Uint8Array(bits.buffer)
    },
    locate: () => undefined,
  }
}
