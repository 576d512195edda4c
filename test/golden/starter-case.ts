// The starter's own goldens on any backend: pictures that diffusers drew from it in f32, latents and PNGs.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { TextToImage } from '../../src/pipeline/text-to-image.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { readPng } from '../png-read.ts'
import { readGolden, within } from './read-golden.ts'

const folder = fileURLToPath(new URL('./starter/', import.meta.url))

interface Golden {
  readonly steps: number
  readonly guidance: number
  readonly prompts: readonly {
    readonly prompt: string
    readonly seed: number
    readonly width: number
    readonly height: number
    readonly samplers: Readonly<Record<string, string>>
  }[]
}

export interface StarterCase {
  readonly prompt: string
  readonly seed: number
  readonly width: number
  readonly height: number
  readonly sampler: string
  readonly steps: number
  readonly guidance: number
  readonly png: string
  /** Its latents' name in the file of tensors. */
  readonly latents: string
}

export function starterCases(): readonly StarterCase[] {
  const { prompts, steps, guidance } = JSON.parse(readFileSync(`${folder}golden.json`, 'utf8')) as Golden
  return prompts.flatMap(({ samplers, ...each }, k) =>
    Object.entries(samplers).map(([sampler, png]) => ({
      ...{ ...each, steps, guidance, sampler, png },
      latents: `latents.${k}.${sampler}`,
    })),
  )
}

/** f16: some twenty times what ONNX Runtime shows (7e-4), since GPUs store between more nodes; the PSNR is the real bar. */
const latentMarks = { f32: 1e-4, f16: 0.02 } as const
const leastPsnr = 35

let tensors: ReturnType<typeof readGolden> | undefined

export interface StarterComparison {
  readonly pass: boolean
  readonly text: string
}

/** Draws the picture: latents within the mark; in f32 no byte of the picture more than one off, in f16 at least 35 dB PSNR. */
export async function runStarterCase(
  { prompt, seed, width, height, sampler, steps, guidance, png, latents: name }: StarterCase,
  pipeline: TextToImage,
  dtype: StorageDType,
): Promise<StarterComparison> {
  const { images, latents } = await pipeline.generate({
    ...{ prompt, seed, sampler, width, height, steps },
    guidanceScale: guidance,
    schedulerOverrides: { timestep_spacing: 'leading' },
  })
  tensors ??= readGolden(`${folder}golden.safetensors`)
  const marks = { max_abs: Number.POSITIVE_INFINITY, rel: latentMarks[dtype] }
  const comparison = within(latents.values, tensors.get(name)!.data as Float32Array, marks)
  const want = readPng(readFileSync(folder + png))
  const got = readPng(await images[0]!.png())
  const alike = got.width === want.width && got.height === want.height && got.channels === want.channels
  const differences = got.pixels.map((value, i) => Math.abs(value - want.pixels[i]!))
  const largest = differences.reduce((most, each) => Math.max(most, each), 0)
  const decibels = psnr(differences)
  const near = dtype === 'f32' ? largest <= 1 : decibels >= leastPsnr
  return {
    pass: comparison.pass && alike && near,
    text: `latents ${comparison.text}; picture ${got.width}×${got.height}, largest difference of a byte ${largest}, PSNR ${decibels.toFixed(1)} dB`,
  }
}

function psnr(differences: Uint8Array): number {
  const squares = differences.reduce((sum, each) => sum + each * each, 0)
  return 10 * Math.log10(255 ** 2 / (squares / differences.length))
}
