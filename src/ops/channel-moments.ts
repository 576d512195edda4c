// The first half of a group normalisation whose image is never there as a whole: moments by channel and part of the rows.
import type { Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef } from '../graph/op.ts'
import type { ChannelMomentsAttrs } from './attrs.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [n, h, w, c] → [n, ceil(h / rows), 2, c], f32: means, then sums of squared deviations. */
export function channelMoments(x: Value, rows: number): Value {
  return x.graph.add(channelMomentsOp, [x], { rows }, scopeOf([x]))
}

export const channelMomentsOp: OpDef<ChannelMomentsAttrs> = {
  name: 'channelMoments',

  infer([x], { rows }, where) {
    if (x?.shape.length !== 4)
      return shapeError(where, `moments are those of images [n, h, w, c], not of [${x?.shape}]`)
    if (!(rows >= 1)) shapeError(where, `parts of ${rows} rows were asked for`)
    return { shape: [x.shape[0]!, Math.ceil(x.shape[1]! / rows), 2, x.shape[3]!], kind: 'f32' }
  },

  cost([x]) {
    return { macs: 0, operations: 5 * elementCount(x!.shape) }
  },

  reference([x], { rows }, { shape }) {
    const [n, h, w, c] = x!.shape as [number, number, number, number]
    const parts = shape[1]!
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    for (let part = 0; part < n * parts; part++)
      for (let channel = 0; channel < c; channel++) {
        const [image, row] = [Math.floor(part / parts) * h, (part % parts) * rows]
        const [first, end] = [(image + row) * w, (image + Math.min(row + rows, h)) * w]
        const at = (pixel: number) => x!.data[pixel * c + channel]!
        let [sum, sumAbs, squares, drift] = [0, 0, 0, 0]
        for (let p = first; p < end; p++) {
          sum += at(p)
          sumAbs += Math.abs(at(p))
        }
        const [mean, meanAbs] = [sum / (end - first), sumAbs / (end - first)]
        for (let p = first; p < end; p++) {
          const d = at(p) - mean
          squares += d * d
          drift += 2 * Math.abs(d) * (Math.abs(at(p)) + meanAbs) // δ(d²) ≤ 2·|d|·δd, as in ops/moments.ts
        }
        const to = part * 2 * c + channel
        data.set([mean], to)
        data.set([squares], to + c)
        scale.set([meanAbs], to)
        scale.set([squares + drift], to + c)
      }
    return { shape, data, scale }
  },

  onnx(writer, [x], { rows }, [type], { shape }) {
    const [n, h, w, c] = type!.shape as [number, number, number, number]
    const values = asFloat(writer, x!) // [n, c, h, w]
    const parts = Array.from({ length: shape[1]! }, (_, part) => {
      const [first, end] = [part * rows, Math.min((part + 1) * rows, h)]
      const axis = writer.int64([2])
      const own = writer.node('Slice', [values, writer.int64([first]), writer.int64([end]), axis])
      const flat = writer.node('Reshape', [own, writer.int64([n, c, (end - first) * w])])
      const mean = writer.node('ReduceMean', [flat, axis])
      const deviation = writer.node('Sub', [flat, mean])
      const squares = writer.node('ReduceSumSquare', [deviation, axis])
      const both = writer.node('Concat', [mean, squares], { axis: { int: 2 } })
      return writer.node('Reshape', [both, writer.int64([n, c, 1, 2])])
    })
    return writer.node('Concat', parts, { axis: { int: 2 } })
  },
}

/** ONNX's numbers for 32-bit and 16-bit floats. */
export const float = 1
export const float16 = 10

/** A value of the model's type in f32, which is what statistics are computed in. */
export function asFloat(writer: OnnxWriter, name: string): string {
  return writer.floatType === 'float' ? name : writer.node('Cast', [name], { to: { int: float } })
}
