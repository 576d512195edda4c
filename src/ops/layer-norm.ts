// Layer normalisation over the last axis.
import type { Scope, Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { LayerNormAttrs } from './attrs.ts'
import { momentsOf } from './moments.ts'
import { fromChannelsLast, toChannelsLast } from './onnx-layout.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [..., c] → the same shape; parameters `weight` [c] and `bias` [c]. */
export function layerNorm(g: Scope, x: Value, attrs: LayerNormAttrs): Value {
  const channels = x.shape.at(-1)!
  return g.add(layerNormOp, [x, g.param('weight', [channels]), g.param('bias', [channels])], attrs)
}

export const layerNormOp: OpDef<LayerNormAttrs> = {
  name: 'layerNorm',

  infer([x, gamma, beta], _attrs, where) {
    if (!x || x.shape.length < 1) return shapeError(where, `normalisation takes [..., c], not [${x?.shape}]`)
    const channels = x.shape.at(-1)!
    for (const each of [gamma, beta])
      if (String(each?.shape) !== String(channels)) shapeError(where, `[${each?.shape}] for ${channels} channels`)
    return { shape: x.shape, kind: 'float' }
  },

  cost(_inputs, _attrs, output) {
    return { macs: 0, operations: 7 * elementCount(output.shape) }
  },

  reference([x, gamma, beta], { epsilon }, { shape }) {
    const channels = shape.at(-1)!
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let row = 0; row < data.length; row += channels) {
      const { mean, rstd, errorOf } = momentsOf(x!.data.subarray(row, row + channels), epsilon)
      for (let c = 0; c < channels; c++) {
        const value = x!.data[row + c]!
        data[row + c] = (value - mean) * rstd * gamma!.data[c]! + beta!.data[c]!
        scale[row + c] = errorOf(value) * Math.abs(gamma!.data[c]!) + Math.abs(beta!.data[c]!)
      }
    }
    return { shape, data, scale }
  },

  onnx(writer, [x, gamma, beta], { epsilon }, _inputs, { shape }) {
    const rows = toChannelsLast(writer, x!, shape)
    const attributes = { axis: { int: -1 }, epsilon: { float: epsilon } }
    const normalised = writer.node('LayerNormalization', [rows, gamma!, beta!], attributes)
    return fromChannelsLast(writer, normalised, shape)
  },
}
