// Normal noise by seed, number for number as torch draws it: pictures are reproduced from a seed only if the noise is.
import { PhospheneError } from '../error.ts'
import { fromF16Bits, toF16Bits } from './dtype.ts'
import { mt19937 } from './mt19937.ts'
import { philox4x32 } from './philox.ts'

export interface NoiseSource {
  /** The next tensor of N(0, 1) in C order. A source is a stream: each call goes on where the last one ended. */
  normal(shape: readonly number[]): Float32Array
}

/**
 * In which precision torch's CPU generator draws, which decides the numbers:
 * - `float32`: a float32 pipeline (the default);
 * - `float16`: a float16 pipeline of torch up to 2.11, which has a stream of its own and so a wholly different picture;
 * - `float16-rounded`: a float16 pipeline of torch 2.13, the float32 stream rounded to halves.
 */
export type NoisePrecision = 'float32' | 'float16' | 'float16-rounded'

/**
 * `torch.randn(shape, generator=torch.Generator('cpu').manual_seed(seed))`; the numbers depend on the whole tensor's size.
 * Only the seed's low 32 bits count. Raises 'options/invalid' if the seed is not a whole number.
 */
export function torchCpuNoise(seed: number | bigint, precision: NoisePrecision = 'float32'): NoiseSource {
  const nextWord = mt19937(Number(seedBits(seed) & 0xffffffffn))
  const nextScalar = scalarNormal(nextWord)
  const block = precision === 'float16' ? halfBlock : floatBlock
  const rounded = precision === 'float32' ? Math.fround : half
  return {
    normal(shape) {
      const values = new Float32Array(shape.reduce((product, size) => product * size, 1))
      if (values.length < 16) return values.map(() => rounded(nextScalar()))
      fillBlocks(values, nextWord, block)
      return precision === 'float16-rounded' ? values.map(half) : values
    },
  }
}

/** Box-Muller over one block in place: `values[start..start+8)` with the eight after it. */
interface Block {
  uniform(word: number): number
  transform(values: Float32Array, start: number): void
}

/** torch's normal_fill: the last 16 values of a size that is no multiple of 16 are drawn anew, over those before. */
function fillBlocks(values: Float32Array, nextWord: () => number, block: Block): void {
  const size = values.length
  for (let i = 0; i < size; i++) values[i] = block.uniform(nextWord())
  for (let start = 0; start + 16 <= size; start += 16) block.transform(values, start)
  if (size % 16 === 0) return
  for (let i = size - 16; i < size; i++) values[i] = block.uniform(nextWord())
  block.transform(values, size - 16)
}

const floatBlock: Block = {
  uniform: (word) => (word & 0xffffff) / 2 ** 24,
  transform(values, start) {
    for (let j = start; j < start + 8; j++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[j]!))
      const theta = Math.fround(Math.fround(2 * Math.PI) * values[j + 8]!)
      values[j] = radius * Math.cos(theta)
      values[j + 8] = radius * Math.sin(theta)
    }
  },
}

/** Every operation is rounded to half, as torch 2.11 computes them. */
const halfBlock: Block = {
  uniform: (word) => (word & 0x7ff) / 2 ** 11,
  transform(values, start) {
    for (let j = start; j < start + 8; j++) {
      const radius = half(Math.sqrt(half(-2 * half(Math.log(half(1 - values[j]!))))))
      const theta = half(Math.fround(2 * Math.PI) * values[j + 8]!)
      values[j] = half(radius * half(Math.cos(theta)))
      values[j + 8] = half(radius * half(Math.sin(theta)))
    }
  },
}

function half(value: number): number {
  return fromF16Bits(toF16Bits(value))
}

/** Fewer than 16 values are drawn one by one in doubles; of each pair the second is kept for later, across calls. */
function scalarNormal(nextWord: () => number): () => number {
  const uniform = () => {
    const high = nextWord() & 0x1fffff
    return (high * 2 ** 32 + nextWord()) / 2 ** 53
  }
  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const kept = spare
      spare = undefined
      return kept
    }
    const theta = 2 * Math.PI * uniform()
    const radius = Math.sqrt(-2 * Math.log1p(-uniform()))
    spare = radius * Math.sin(theta)
    return radius * Math.cos(theta)
  }
}

/**
 * torch's CUDA generator and A1111's "GPU" and "NV" noise. An element depends on its index, the seed (64 bits) and the
 * number of the call, not on the tensor's size. Raises 'options/invalid' if the seed is not a whole number.
 */
export function philoxNoise(seed: number | bigint): NoiseSource {
  const bits = seedBits(seed)
  const key = [Number(bits & 0xffffffffn), Number(bits >> 32n)] as const
  const words = new Uint32Array(4)
  let calls = 0
  return {
    normal(shape) {
      const values = new Float32Array(shape.reduce((product, size) => product * size, 1))
      for (let i = 0; i < values.length; i++) {
        words.set([calls, 0, i, 0])
        philox4x32(words, key)
        const u = words[0]! * 2 ** -32 + 2 ** -33
        const angle = (words[1]! * 2 ** -32 + 2 ** -33) * 2 * Math.PI
        values[i] = Math.sqrt(-2 * Math.log(u)) * Math.sin(angle)
      }
      calls++
      return values
    },
  }
}

/** The seed as torch takes it: modulo 2⁶⁴, so −1 is 2⁶⁴ − 1. */
function seedBits(seed: number | bigint): bigint {
  if (typeof seed === 'bigint' || Number.isSafeInteger(seed)) return BigInt.asUintN(64, BigInt(seed))
  throw new PhospheneError({
    code: 'options/invalid',
    message: `the seed is ${seed}, which is not a whole number that can be held exactly`,
    fix: `Give a whole number between ±${Number.MAX_SAFE_INTEGER}, or a bigint.`,
  })
}
