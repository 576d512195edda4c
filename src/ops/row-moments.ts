// The first half of a layer normalisation whose result never exists: two numbers a row, for the product that normalises what it
// loads (`normalised` of matmul).
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { RowMomentsAttrs } from './attrs.ts'
import { asFloat } from './channel-moments.ts'
import { smallConstant } from './group-moments.ts'
import { momentsOf } from './moments.ts'
import { fromChannelsLast, toChannelsLast } from './onnx-layout.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [..., c] → [..., 2], f32: the mean of each row, and 1 / √(variance + epsilon). */
export function rowMoments(x: Value, epsilon: number, scope: string): Value {
  return x.graph.add(rowMomentsOp, [x], { epsilon }, scope)
}

export const rowMomentsOp: OpDef<RowMomentsAttrs> = {
  name: 'rowMoments',

  infer([x], _attrs, where) {
    if (!x || x.shape.length < 2) return shapeError(where, `moments are those of rows [..., c], not of [${x?.shape}]`)
    return { shape: [...x.shape.slice(0, -1), 2], kind: 'f32' }
  },

  cost([x]) {
    return { macs: 0, operations: 4 * elementCount(x!.shape) }
  },

  reference([x], { epsilon }, { shape }) {
    const channels = x!.shape.at(-1)!
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let row = 0; row < data.length / 2; row++) {
      const moments = momentsOf(x!.data.subarray(row * channels, (row + 1) * channels), epsilon)
      data.set([moments.mean, moments.rstd], 2 * row)
      scale.set([moments.meanAbs, moments.rstd * moments.relative], 2 * row)
    }
    return { shape, data, scale }
  },

  onnx(writer, [x], { epsilon }, [type], { shape }) {
    const values = asFloat(writer, toChannelsLast(writer, x!, type!.shape))
    const last = writer.int64([-1])
    const mean = writer.node('ReduceMean', [values, last])
    const deviation = writer.node('Sub', [values, mean])
    const variance = writer.node('ReduceMean', [writer.node('Mul', [deviation, deviation]), last])
    const bottom = writer.node('Sqrt', [writer.node('Add', [variance, smallConstant(writer, epsilon)])])
    const both = writer.node('Concat', [mean, writer.node('Reciprocal', [bottom])], { axis: { int: -1 } })
    return fromChannelsLast(writer, both, shape)
  },
}
