// Every noise case of the reference data: torch's CPU and CUDA generators.
import { afterAll, describe, expect, it } from 'vitest'
import { f16ToF32 } from '../../src/tensor/dtype.ts'
import { mt19937 } from '../../src/tensor/mt19937.ts'
import { type NoisePrecision, philoxNoise, torchCpuNoise } from '../../src/tensor/noise.ts'
import { philox4x32 } from '../../src/tensor/philox.ts'
import { type GoldenCase, loadIndex, readGolden, within } from './read-golden.ts'

const tensors = readGolden('noise.safetensors')

function reference(key: string): ArrayLike<number> {
  const { data } = tensors.get(key)!
  return data instanceof Uint16Array ? f16ToF32(data) : Float64Array.from(data as ArrayLike<number>, Number)
}

let [passed, total] = [0, 0]
let worst = 0
afterAll(() => console.log(`noise cases within their marks: ${passed} of ${total}; worst f32 difference ${worst}`))

/** `got` by output name against the case's tensors. */
function check(
  golden: GoldenCase,
  got: Readonly<Record<string, ArrayLike<number>>>,
  mark?: { max_abs: number; rel: number },
) {
  for (const [output, key] of Object.entries(golden.outputs)) {
    const comparison = within(got[output] ?? [], reference(key), mark ?? golden.marks[key]!.f32)
    expect(comparison.pass, `${output}: ${comparison.text}`).toBe(true)
    if (golden.component !== 'noise_cpu_f16') worst = Math.max(worst, comparison.maxAbs)
  }
  passed++
}

function ends(values: Float32Array) {
  return { all: values, first64: values.subarray(0, 64), last64: values.subarray(-64) }
}

const casesOf = (component: string) => loadIndex(component).map((each) => [each.id, each] as const)

describe('torch’s CPU generator', () => {
  it.each(casesOf('noise_cpu'))('%s', (_, golden) => {
    total++
    const values = torchCpuNoise(BigInt(golden.settings.seed)).normal(golden.settings.shape)
    check(golden, ends(values))
    const sumOfSquares = values.reduce((sum, value) => sum + value * value, 0)
    const { sum, sumsq } = golden.settings
    expect(values.reduce((total, value) => total + value, 0)).toBeCloseTo(sum, values.length > 1e5 ? 0 : 1)
    expect(Math.abs(sumOfSquares / sumsq - 1)).toBeLessThan(1e-5)
  })

  it.each(casesOf('noise_cpu_sequence'))('%s', (_, golden) => {
    total++
    const source = torchCpuNoise(BigInt(golden.settings.seed))
    check(golden, { all: golden.settings.draws.flatMap((size: number) => [...source.normal([size])]) })
  })

  it.each(casesOf('noise_cpu_f16'))('%s', (id, golden) => {
    total++
    const precision: NoisePrecision = id.includes('2.13') ? 'float16-rounded' : 'float16'
    const seed = BigInt(golden.settings.seed)
    const n15 = torchCpuNoise(seed, precision).normal([15])
    check(golden, { ...ends(torchCpuNoise(seed, precision).normal(golden.settings.shape)), n15 })
  })

  it('draws the same raw words', () => {
    const raw = [...tensors.keys()].filter((key) => key.startsWith('mt19937.raw.seed'))
    expect(raw.length).toBeGreaterThan(0)
    for (const key of raw) {
      const next = mt19937(Number(BigInt(key.slice('mt19937.raw.seed'.length)) & 0xffffffffn))
      const words = Array.from(tensors.get(key)!.data as ArrayLike<number | bigint>, (word) => Number(word) >>> 0)
      expect(words.map(next), key).toEqual(words)
    }
  })
})

describe('torch’s CUDA generator', () => {
  it.each(casesOf('noise_philox'))('%s', (_, golden) => {
    total++
    const source = philoxNoise(BigInt(golden.settings.seed))
    const first = ends(source.normal(golden.settings.shape))
    check(golden, { ...first, second_call_first64: source.normal(golden.settings.shape).subarray(0, 64) })
    const raw = tensors.get(golden.settings.raw)!
    const seed = BigInt.asUintN(64, BigInt(golden.settings.seed))
    const [xs, ys] = [0, 1].map((row) => Array.from({ length: 16 }, (_, i) => Number(raw.data[row * 16 + i]!) >>> 0))
    for (let i = 0; i < 16; i++) {
      const words = Uint32Array.of(0, 0, i, 0)
      philox4x32(words, [Number(seed & 0xffffffffn), Number(seed >> 32n)])
      expect([words[0], words[1]]).toEqual([xs![i], ys![i]])
    }
  })
})
