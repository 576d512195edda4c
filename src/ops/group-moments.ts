// The second part of a group normalisation in parts: moments of channels and parts joined into those of the groups
// (Chan, Golub, LeVeque 1983, eq. 2.1 for many parts: M2 = Σ M2ᵢ + Σ wᵢ (meanᵢ − mean)²).
import type { Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef } from '../graph/op.ts'
import type { GroupMomentsAttrs } from './attrs.ts'
import { asFloat, float } from './channel-moments.ts'
import { scopeOf } from './pointwise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** moments [n, parts, 2, c] (see channelMoments), gamma [c] → [n, 2, c], f32: means and scales by channel. */
export function groupMoments(moments: Value, gamma: Value, attrs: GroupMomentsAttrs): Value {
  return moments.graph.add(groupMomentsOp, [moments, gamma], attrs, scopeOf([moments]))
}

/** Pixels of each part. */
export function pixelsOfParts(parts: number, { pixels, partPixels }: GroupMomentsAttrs): number[] {
  return Array.from({ length: parts }, (_, i) => Math.min(partPixels, pixels - i * partPixels))
}

export const groupMomentsOp: OpDef<GroupMomentsAttrs> = {
  name: 'groupMoments',

  infer([moments, gamma], { groups, pixels, partPixels }, where) {
    if (moments?.shape.length !== 4 || moments.shape[2] !== 2)
      return shapeError(where, `moments are [n, parts, 2, c], not [${moments?.shape}]`)
    const [n, parts, , channels] = moments.shape as [number, number, number, number]
    if (channels % groups !== 0) shapeError(where, `${channels} channels do not divide into ${groups} groups`)
    if (String(gamma?.shape) !== String(channels)) shapeError(where, `[${gamma?.shape}] for ${channels} channels`)
    if (parts !== Math.ceil(pixels / partPixels))
      shapeError(where, `${parts} parts of ${partPixels} pixels are no image of ${pixels}`)
    return { shape: [n, 2, channels], kind: 'f32' }
  },

  cost([moments]) {
    return { macs: 0, operations: 5 * elementCount(moments!.shape) }
  },

  reference([moments, gamma], attrs, { shape }) {
    const { groups, epsilon, pixels } = attrs
    const [n, , channels] = shape as [number, number, number]
    const counts = pixelsOfParts(moments!.shape[1]!, attrs)
    const width = channels / groups
    const data = new Float64Array(n * 2 * channels)
    const scale = new Float64Array(data.length)
    for (let each = 0; each < n * groups; each++) {
      const image = Math.floor(each / groups) * 2 * channels
      const first = (each % groups) * width
      const total = pixels * width
      const walk = (visit: (weight: number, mean: number, squares: number) => void) => {
        for (const [part, weight] of counts.entries())
          for (let c = first; c < first + width; c++) {
            const at = image * counts.length + part * 2 * channels + c
            visit(weight, moments!.data[at]!, moments!.data[at + channels]!)
          }
      }
      let [mean, meanAbs, squares, drift] = [0, 0, 0, 0]
      walk((weight, own) => {
        mean += (weight * own) / total
        meanAbs += (weight * Math.abs(own)) / total
      })
      walk((weight, own, ownSquares) => {
        squares += ownSquares + weight * (own - mean) ** 2
        drift += ownSquares + 2 * weight * Math.abs(own - mean) * (Math.abs(own) + meanAbs)
      })
      const variance = squares / total + epsilon
      const rstd = 1 / Math.sqrt(variance)
      for (let c = first; c < first + width; c++) {
        data[image + c] = mean
        scale[image + c] = meanAbs
        data[image + channels + c] = rstd * gamma!.data[c]!
        scale[image + channels + c] = Math.abs(data[image + channels + c]!) * (1 + drift / total / variance)
      }
    }
    return { shape, data, scale }
  },

  onnx(writer, [moments, gamma], attrs, [type], { shape }) {
    const { groups, epsilon, pixels } = attrs
    const [n, channels, parts] = [shape[0]!, shape[2]!, type!.shape[1]!]
    const width = channels / groups
    const counts = Array.from({ length: width }, () => pixelsOfParts(parts, attrs)).flat()
    const weights = constants(writer, counts)
    const [one, total] = [writer.int64([1]), constants(writer, [pixels * width])]
    const values = asFloat(writer, moments!) // [n, c, parts, 2]
    const column = (index: number) => {
      const own = writer.node('Slice', [values, ...[index, index + 1, 3].map((each) => writer.int64([each]))])
      return writer.node('Reshape', [own, writer.int64([n * groups, width * parts])])
    }
    const [means, squares] = [column(0), column(1)]
    const sum = (values: string) => writer.node('ReduceSum', [values, one])
    const mean = writer.node('Div', [sum(writer.node('Mul', [means, weights])), total]) // [n · groups, 1]
    const deviation = writer.node('Sub', [means, mean])
    const between = writer.node('Mul', [writer.node('Mul', [deviation, deviation]), weights])
    const variance = writer.node('Div', [sum(writer.node('Add', [squares, between])), total])
    const bottom = writer.node('Sqrt', [writer.node('Add', [variance, smallConstant(writer, epsilon)])])
    const byChannel = (values: string) =>
      writer.node('Reshape', [
        writer.node('Expand', [values, writer.int64([n * groups, width])]),
        writer.int64([n, 1, channels]),
      ])
    const scales = writer.node('Div', [
      writer.node('Reshape', [asFloat(writer, gamma!), writer.int64([1, 1, channels])]),
      byChannel(bottom),
    ])
    return writer.node('Concat', [byChannel(mean), scales], { axis: { int: 1 } })
  },
}

/** Whole numbers in f32, whatever the model's type: halves end at 65504. */
function constants(writer: OnnxWriter, values: readonly number[]): string {
  return writer.node('Cast', [writer.int64(values)], { to: { int: float } })
}

/** A number far below 1 in f32, as a quotient of whole ones. */
export function smallConstant(writer: OnnxWriter, value: number): string {
  const [top, bottom] = [Math.round(value * 2 ** 60), 2 ** 60].map((each) => constants(writer, [each]))
  return writer.node('Div', [top!, bottom!])
}
