// A range of rows of one image (or of one sequence): what a band needs of its neighbours.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { SliceAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [1, h, ..., c] → [1, end − start, ..., c]: rows start … end−1. Lies within x, so it costs nothing. */
export function sliceRows(x: Value, start: number, end: number): Value {
  return x.graph.add(sliceRowsOp, [x], { start, end }, scopeOf([x]))
}

export const sliceRowsOp: OpDef<SliceAttrs> = {
  name: 'sliceRows',

  infer([x], { start, end }, where) {
    const [n, rows, ...rest] = x!.shape
    if (n !== 1 || rows === undefined || rest.length === 0)
      return shapeError(where, `rows are taken of [1, h, ..., c], not of [${x!.shape}]`)
    if (!(start >= 0 && start < end && end <= rows))
      return shapeError(where, `rows ${start} to ${end} of ${rows} were asked for`)
    return { shape: [1, end - start, ...rest], kind: x!.kind }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference([x], { start, end }, { shape }) {
    const row = elementCount(shape.slice(2))
    const data = x!.data.slice(start * row, end * row)
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, [x], { start, end }, [type]) {
    const axis = writer.axis(type!.shape.length, 1)
    return writer.node('Slice', [x!, writer.int64([start]), writer.int64([end]), writer.int64([axis])])
  },
}
