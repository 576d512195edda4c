// Joins tensors along their channels.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { ConcatAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount, sameShape } from './shapes.ts'

/** Tensors [..., cᵢ], equal but for their channels → [..., Σcᵢ]. */
export function concat(values: readonly Value[]): Value {
  return values[0]!.graph.add(concatOp, values, { axis: -1 }, scopeOf(values))
}

export const concatOp: OpDef<ConcatAttrs> = {
  name: 'concat',

  infer(inputs, _attrs, where) {
    const rows = inputs[0]?.shape.slice(0, -1)
    if (!rows) return shapeError(where, 'nothing to join')
    const other = inputs.find((each) => !sameShape(each.shape.slice(0, -1), rows))
    if (other) shapeError(where, `[${inputs[0]!.shape}] and [${other.shape}] differ in more than their channels`)
    return { shape: [...rows, inputs.reduce((sum, each) => sum + each.shape.at(-1)!, 0)], kind: 'float' }
  },

  cost() {
    return { macs: 0, operations: 0 }
  },

  reference(inputs, _attrs, { shape }) {
    const data = new Float64Array(elementCount(shape))
    for (let at = 0, row = 0; at < data.length; row++)
      for (const { shape: own, data: values } of inputs) {
        const channels = own.at(-1)!
        data.set(values.subarray(row * channels, (row + 1) * channels), at)
        at += channels
      }
    return { shape, data, scale: data.map(Math.abs) }
  },

  onnx(writer, names, { axis }, _inputs, { shape }) {
    return writer.node('Concat', names, { axis: { int: writer.axis(shape.length, axis) } })
  },
}
