// Arithmetic on shapes that several ops share: element counts, numpy broadcasting, strides.
import type { Shape } from '../graph/op.ts'
import { shapeError } from './shape-error.ts'

export function elementCount(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1)
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

/** The shape that numpy's rules give for all of `shapes`. Raises 'graph/shape'. */
export function broadcastShapes(shapes: readonly Shape[], where: string): Shape {
  const rank = Math.max(...shapes.map((shape) => shape.length))
  const result: number[] = new Array(rank).fill(1)
  for (const shape of shapes)
    for (let i = 0; i < shape.length; i++) {
      const size = shape[shape.length - 1 - i]!
      const axis = rank - 1 - i
      if (size === 1 || size === result[axis]) continue
      if (result[axis] !== 1) shapeError(where, `[${shapes.join('] and [')}] do not broadcast (axis ${axis})`)
      result[axis] = size
    }
  return result
}

/** For every element of `target`, in order, the index of the element of `shape` that broadcasts to it. */
export function broadcastIndex(shape: Shape, target: Shape): Int32Array {
  const index = new Int32Array(elementCount(target))
  let [count, stride] = [1, 1] // elements of the trailing axes done so far, in target and in shape
  for (let i = 0; i < target.length; i++) {
    const size = target[target.length - 1 - i]!
    const own = shape[shape.length - 1 - i] ?? 1
    for (let k = size - 1; k > 0; k--)
      for (let j = 0; j < count; j++) index[k * count + j] = index[j]! + (own === 1 ? 0 : k * stride)
    count *= size
    stride *= own
  }
  return index
}
