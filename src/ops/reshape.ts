// The same elements in another shape: between images and tokens.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { ReshapeAttrs } from './attrs.ts'
import { fromChannelsLast, toChannelsLast } from './onnx-layout.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount, sameShape } from './shapes.ts'

/** x in another shape with as many elements; the last dimension stays. */
export function reshape(x: Value, shape: readonly number[]): Value {
  return x.graph.add(reshapeOp, [x], { shape }, scopeOf([x]))
}

export const reshapeOp: OpDef<ReshapeAttrs> = {
  name: 'reshape',

  infer([x], { shape }, where) {
    if (elementCount(shape) !== elementCount(x!.shape) || shape.at(-1) !== x!.shape.at(-1))
      shapeError(where, `[${x!.shape}] cannot become [${shape}]: elements and last dimension have to stay`)
    return { shape, kind: x!.kind }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference([x], _attrs, { shape }) {
    return { shape, data: x!.data, scale: x!.data.map(Math.abs) }
  },

  onnx(writer, [x], { shape }, [type]) {
    if (sameShape(shape, type!.shape)) return writer.node('Identity', [x!])
    const rows = toChannelsLast(writer, x!, type!.shape)
    return fromChannelsLast(writer, writer.node('Reshape', [rows, writer.int64(shape)]), shape)
  },
}
