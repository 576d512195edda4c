// Images between the engine's order (channels innermost) and that of files and noise (channels outermost).

/** [n, c, h, w] → [n, h, w, c]. */
export function nchwToNhwc(values: Float32Array, channels: number, pixels: number): Float32Array {
  const result = new Float32Array(values.length)
  const image = channels * pixels
  for (let start = 0; start < values.length; start += image)
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < pixels; p++) result[start + p * channels + c] = values[start + c * pixels + p]!
  return result
}

/** [n, h, w, c] → [n, c, h, w]. */
export function nhwcToNchw(values: Float32Array, channels: number, pixels: number): Float32Array {
  return nchwToNhwc(values, pixels, channels)
}
