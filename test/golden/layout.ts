// Between the references' channels-first tensors and the engine's channels-last images.

export interface HostArray {
  readonly shape: readonly number[]
  readonly data: ArrayLike<number>
}

/** [n, c, h, w] → [n, h, w, c]; other ranks as they are. */
export function toChannelsLast({ shape, data }: HostArray): HostArray {
  if (shape.length !== 4) return { shape, data }
  const [n, c, h, w] = shape as [number, number, number, number]
  return { shape: [n, h, w, c], data: permuted(data, n, c, h * w) }
}

/** [n, h, w, c] → [n, c, h, w]; other ranks as they are. */
export function toChannelsFirst({ shape, data }: HostArray): HostArray {
  if (shape.length !== 4) return { shape, data }
  const [n, h, w, c] = shape as [number, number, number, number]
  return { shape: [n, c, h, w], data: permuted(data, n, h * w, c) }
}

/** [n, rows, columns] → [n, columns, rows]. */
function permuted(data: ArrayLike<number>, n: number, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length)
  for (let image = 0; image < n; image++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        result[(image * columns + column) * rows + row] = data[(image * rows + row) * columns + column]!
  return result
}

/** Every second pixel in both directions of [n, c, h, w]: how large references are stored. */
export function everySecondPixel({ shape, data }: HostArray): HostArray {
  const [n, c, h, w] = shape as [number, number, number, number]
  const kept: number[] = []
  for (let plane = 0; plane < n * c; plane++)
    for (let y = 0; y < h; y += 2) for (let x = 0; x < w; x += 2) kept.push(data[(plane * h + y) * w + x]!)
  return { shape: [n, c, Math.ceil(h / 2), Math.ceil(w / 2)], data: kept }
}
