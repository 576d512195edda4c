// Between channels-last and channels-first in ONNX forms, for ops that work on the last axis.
import type { OnnxWriter, Shape } from '../graph/op.ts'

/** Whether [n, spatial…, c] and [n, c, spatial…] are the same bytes. */
function sameBytes(shape: Shape): boolean {
  return shape.at(-1) === 1 || shape.slice(1, -1).every((size) => size === 1)
}

/** A value of `shape` with its channels last, whatever its rank. */
export function toChannelsLast(writer: OnnxWriter, name: string, shape: Shape): string {
  const rank = shape.length
  if (rank < 4) return name
  if (sameBytes(shape)) return writer.node('Reshape', [name, writer.int64(shape)])
  return writer.node('Transpose', [name], { perm: { ints: [0, ...range(2, rank), 1] } })
}

/** The way back: a value of `shape` whose channels are last, as this rank is kept in ONNX. */
export function fromChannelsLast(writer: OnnxWriter, name: string, shape: Shape): string {
  const rank = shape.length
  if (rank < 4) return name
  if (sameBytes(shape)) return writer.node('Reshape', [name, writer.int64(writer.shape(shape))])
  return writer.node('Transpose', [name], { perm: { ints: [0, rank - 1, ...range(1, rank - 1)] } })
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
