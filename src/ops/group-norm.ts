// Group normalisation over all but the batch axis, by group of channels.
import type { Scope, Value } from '../graph/graph.ts'
import type { OpDef } from '../graph/op.ts'
import type { GroupNormAttrs } from './attrs.ts'
import { momentsOf } from './moments.ts'
import { fromChannelsLast, toChannelsLast } from './onnx-layout.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** x [n, ..., c] → the same shape; parameters `weight` [c] and `bias` [c]. */
export function groupNorm(g: Scope, x: Value, attrs: GroupNormAttrs): Value {
  const channels = x.shape.at(-1)!
  return g.add(groupNormOp, [x, g.param('weight', [channels]), g.param('bias', [channels])], attrs)
}

export const groupNormOp: OpDef<GroupNormAttrs> = {
  name: 'groupNorm',

  infer([x, gamma, beta], { groups }, where) {
    if (!x || x.shape.length < 2)
      return shapeError(where, `normalisation by groups takes [n, ..., c], not [${x?.shape}]`)
    const channels = x.shape.at(-1)!
    if (channels % groups !== 0) shapeError(where, `${channels} channels do not divide into ${groups} groups`)
    for (const each of [gamma, beta])
      if (String(each?.shape) !== String(channels)) shapeError(where, `[${each?.shape}] for ${channels} channels`)
    return { shape: x.shape, kind: 'float' }
  },

  cost(_inputs, _attrs, output) {
    return { macs: 0, operations: 7 * elementCount(output.shape) }
  },

  reference([x, gamma, beta], { groups, epsilon }, { shape }) {
    const [n, channels] = [shape[0]!, shape.at(-1)!]
    const pixels = elementCount(shape.slice(1, -1))
    const width = channels / groups
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    const members = new Float64Array(pixels * width)
    for (let image = 0; image < n; image++)
      for (let group = 0; group < groups; group++) {
        const at = (pixel: number, c: number) => (image * pixels + pixel) * channels + group * width + c
        for (let p = 0; p < pixels; p++) for (let c = 0; c < width; c++) members[p * width + c] = x!.data[at(p, c)]!
        const { mean, rstd, errorOf } = momentsOf(members, epsilon)
        for (let p = 0; p < pixels; p++)
          for (let c = 0; c < width; c++) {
            const value = x!.data[at(p, c)]!
            const [factor, offset] = [gamma!.data[group * width + c]!, beta!.data[group * width + c]!]
            data[at(p, c)] = (value - mean) * rstd * factor + offset
            scale[at(p, c)] = errorOf(value) * Math.abs(factor) + Math.abs(offset)
          }
      }
    return { shape, data, scale }
  },

  onnx(writer, [x, gamma, beta], { groups, epsilon }, _inputs, { shape }) {
    // GroupNormalization takes its variance as a difference of squares on ONNX Runtime's CPU (off by 4e-4 where the mean
    // is ten deviations away); InstanceNormalization of the groups takes the mean off first, and is faster.
    const rank = Math.max(shape.length, 4)
    const image =
      rank === shape.length ? shape : [shape[0]!, ...new Array(rank - shape.length).fill(1), ...shape.slice(1)]
    const first =
      rank === shape.length ? x! : fromChannelsLast(writer, writer.node('Reshape', [x!, writer.int64(image)]), image)
    const grouped = writer.node('Reshape', [first, writer.int64([shape[0]!, groups, -1])])
    const [one, zero] = [1, 0].map((value) => writer.float(new Array(groups).fill(value), [groups])) as [string, string]
    const attributes = { epsilon: { float: epsilon } }
    const normalised = writer.node('InstanceNormalization', [grouped, one, zero], attributes)
    const back = writer.node('Reshape', [normalised, writer.int64(writer.shape(image))])
    const [factor, offset] = [gamma!, beta!].map((name) =>
      writer.node('Reshape', [name, writer.int64([shape.at(-1)!, ...new Array(rank - 2).fill(1)])]),
    ) as [string, string]
    const result = writer.node('Add', [writer.node('Mul', [back, factor]), offset])
    if (rank === shape.length) return result
    return writer.node('Reshape', [toChannelsLast(writer, result, image), writer.int64(shape)])
  },
}
