// A range of channels.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { SliceAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [..., c] → [..., end − start]: channels start … end−1. */
export function slice(x: Value, start: number, end: number): Value {
  return x.graph.add(sliceOp, [x], { start, end }, scopeOf([x]))
}

export const sliceOp: OpDef<SliceAttrs> = {
  name: 'slice',

  infer([x], { start, end }, where) {
    const channels = x!.shape.at(-1)!
    if (!(start >= 0 && start < end && end <= channels))
      shapeError(where, `channels ${start} to ${end} of ${channels} were asked for`)
    return { shape: [...x!.shape.slice(0, -1), end - start], kind: x!.kind }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference([x], { start, end }, { shape }) {
    const channels = x!.shape.at(-1)!
    const data = new Float64Array(elementCount(shape))
    for (let row = 0; row * (end - start) < data.length; row++)
      data.set(x!.data.subarray(row * channels + start, row * channels + end), row * (end - start))
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, [x], { start, end }, [type]) {
    const axis = writer.axis(type!.shape.length, -1)
    return writer.node('Slice', [x!, writer.int64([start]), writer.int64([end]), writer.int64([axis])])
  },
}
