// The noise of a batch: one stream for all pictures, or one for each, as diffusers' generators.
import { type NoiseSource, philoxNoise, torchCpuNoise } from '../tensor/noise.ts'
import { nchwToNhwc } from './planes.ts'

/** 'cpu': torch's CPU generator (mt19937); 'philox': torch's CUDA generator, which A1111 calls GPU and NV. */
export type NoiseKind = 'cpu' | 'philox'

export const noiseKinds: readonly NoiseKind[] = ['cpu', 'philox']

const sources: Readonly<Record<NoiseKind, (seed: number) => NoiseSource>> = { cpu: torchCpuNoise, philox: philoxNoise }

export interface NoiseShape {
  readonly batch: number
  readonly height: number
  readonly width: number
  readonly channels: number
}

/**
 * Draws noise for the whole batch, [batch, height, width, channels]. The numbers come in the order of
 * [batch, channels, height, width], since a seed means those. One seed: one stream for the batch; several: one a picture.
 */
export function noiseStream(kind: NoiseKind, seeds: readonly number[], shape: NoiseShape): () => Float32Array {
  const { batch, height, width, channels } = shape
  const streams = seeds.map((seed) => sources[kind](seed))
  const perStream = batch / streams.length
  return () => {
    const drawn = streams.map((stream) => stream.normal([perStream, channels, height, width]))
    const all = new Float32Array(batch * channels * height * width)
    let end = 0
    for (const values of drawn) {
      all.set(values, end)
      end += values.length
    }
    return nchwToNhwc(all, channels, height * width)
  }
}
