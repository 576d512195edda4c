// The sinusoidal projection of timesteps (diffusers: get_timestep_embedding). Made on the host in f64: at t = 981 the phase
// in f32 is already off by 1e-5, and WGSL's sin and cos of large arguments by more.

export interface SinusoidOptions {
  /** Values for each timestep. */
  readonly channels: number
  /** Whether the cosine half comes first. */
  readonly flipSinToCos: boolean
  readonly freqShift: number
}

/** [timesteps, channels], row by row: frequency i is 10000^(−i / (channels/2 − freqShift)). An odd channel stays zero. */
export function sinusoidalEmbedding(timesteps: readonly number[], options: SinusoidOptions): Float32Array {
  const { channels, flipSinToCos, freqShift } = options
  const half = Math.floor(channels / 2)
  const result = new Float32Array(timesteps.length * channels)
  const [sines, cosines] = flipSinToCos ? [half, 0] : [0, half]
  for (const [row, timestep] of timesteps.entries()) {
    for (let i = 0; i < half; i++) {
      const phase = timestep * Math.exp((-Math.log(10000) * i) / (half - freqShift))
      result[row * channels + sines + i] = Math.sin(phase)
      result[row * channels + cosines + i] = Math.cos(phase)
    }
  }
  return result
}
