// Latents to rough colours without the autoencoder: one linear map, fitted for each model.
import type { Picture } from '../image/pixels.ts'
import type { LatentToRgb } from './defaults.ts'

/**
 * @param latents of one picture, [h, w, c]
 */
export function latentPreview(latents: Float32Array, width: number, height: number, map: LatentToRgb): Picture {
  const channels = map.factors.length
  const pixels = new Uint8Array(3 * width * height)
  for (let i = 0; i < width * height; i++) {
    const colour = [...map.bias]
    for (const [c, row] of map.factors.entries())
      for (let k = 0; k < 3; k++) colour[k] = colour[k]! + latents[i * channels + c]! * row[k]!
    for (let k = 0; k < 3; k++) pixels[3 * i + k] = Math.round(Math.min(Math.max(colour[k]!, 0), 1) * 255)
  }
  return { width, height, channels: 3, pixels }
}
