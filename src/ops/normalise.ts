// The last part of a group normalisation in parts: each pixel by itself, so that any rows of the image will do.
import type { Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { NormaliseAttrs } from './attrs.ts'
import { asFloat, float16 } from './channel-moments.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [1, h, w, c], moments [1, 2, c] (see groupMoments), beta [c] → (x − mean) · scale + beta. */
export function normalise(x: Value, moments: Value, beta: Value, scope: string): Value {
  return x.graph.add(normaliseOp, [x, moments, beta], {}, scope)
}

export const normaliseOp: OpDef<NormaliseAttrs> = {
  name: 'normalise',

  infer([x, moments, beta], _attrs, where) {
    if (x?.shape.length !== 4 || x.shape[0] !== 1)
      return shapeError(where, `rows of an image are [1, h, w, c], not [${x?.shape}]`)
    const channels = x.shape[3]!
    if (String(moments?.shape) !== String([1, 2, channels]) || String(beta?.shape) !== String(channels))
      shapeError(where, `[${moments?.shape}] and [${beta?.shape}] for ${channels} channels`)
    return { shape: x.shape, kind: 'float' }
  },

  cost(_inputs, _attrs, output) {
    return { macs: 0, operations: 3 * elementCount(output.shape) }
  },

  reference([x, moments, beta], _attrs, { shape }) {
    const channels = shape[3]!
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let i = 0; i < data.length; i++) {
      const c = i % channels
      const [mean, factor] = [moments!.data[c]!, moments!.data[channels + c]!]
      data[i] = (x!.data[i]! - mean) * factor + beta!.data[c]!
      scale[i] = (Math.abs(x!.data[i]!) + Math.abs(mean)) * Math.abs(factor) + Math.abs(beta!.data[c]!)
    }
    return { shape, data, scale }
  },

  onnx(writer, [x, moments, beta], _attrs, _inputs, { shape }) {
    const channels = shape[3]!
    const column = (values: string) => writer.node('Reshape', [values, writer.int64([1, channels, 1, 1])])
    const both = asFloat(writer, moments!) // [1, 2, c]
    const [mean, factor] = [0, 1].map((index) =>
      column(writer.node('Slice', [both, ...[index, index + 1, 1].map((each) => writer.int64([each]))])),
    ) as [string, string]
    const centred = writer.node('Sub', [asFloat(writer, x!), mean])
    const result = writer.node('Add', [writer.node('Mul', [centred, factor]), column(asFloat(writer, beta!))])
    return writer.floatType === 'float' ? result : writer.node('Cast', [result], { to: { int: float16 } })
  },
}
