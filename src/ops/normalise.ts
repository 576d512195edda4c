// The last part of a group normalisation in parts: each pixel by itself, so that any rows of the image will do, and whoever reads
// it can do it while reading (`normalised` of conv2d).
import type { Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef, RefResult, RefTensor, Shape } from '../graph/op.ts'
import type { NormaliseAttrs } from './attrs.ts'
import { asFloat, float16 } from './channel-moments.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'

/** What images are normalised by: moments [n, 2, c] (see groupMoments), beta [c]. */
export interface ImageNorm<T> {
  readonly moments: T
  readonly beta: T
}

/** x [n, h, w, c], moments [n, 2, c], beta [c] → (x − mean) · scale + beta. */
export function normalise(x: Value, moments: Value, beta: Value, scope: string): Value {
  return x.graph.add(normaliseOp, [x, moments, beta], {}, scope)
}

/** Fails where `norm` is not one of images of that shape. */
export function checkImageNorm(
  shape: Shape,
  { moments, beta }: ImageNorm<{ readonly shape: Shape } | undefined>,
  where: string,
): void {
  const [n, channels] = [shape[0]!, shape.at(-1)!]
  if (String(moments?.shape) !== String([n, 2, channels]) || String(beta?.shape) !== String(channels))
    shapeError(where, `[${moments?.shape}] and [${beta?.shape}] for ${n} images of ${channels} channels`)
}

/** (x − mean) · scale + beta, and the sum of its |terms|. */
export function normalisedImage(
  x: RefTensor,
  { moments, beta }: ImageNorm<RefTensor>,
): Pick<RefResult, 'data' | 'scale'> {
  const [n, channels] = [x.shape[0]!, x.shape.at(-1)!]
  const data = new Float64Array(x.data.length)
  const scale = new Float64Array(data.length)
  for (let i = 0; i < data.length; i++) {
    const c = i % channels
    const image = Math.floor((i * n) / data.length) * 2 * channels
    const [mean, factor] = [moments.data[image + c]!, moments.data[image + channels + c]!]
    data[i] = (x.data[i]! - mean) * factor + beta.data[c]!
    scale[i] = (Math.abs(x.data[i]!) + Math.abs(mean)) * Math.abs(factor) + Math.abs(beta.data[c]!)
  }
  return { data, scale }
}

/** The same in ONNX, x channels first; in f32, `stored` brings it back to the model's type. */
export function normalisedImageName(
  writer: OnnxWriter,
  x: string,
  { moments, beta }: ImageNorm<string>,
  [n, channels]: readonly [number, number],
): string {
  const column = (values: string, images: number) =>
    writer.node('Reshape', [values, writer.int64([images, channels, 1, 1])])
  const both = asFloat(writer, moments) // [n, 2, c]
  const [mean, factor] = [0, 1].map((index) =>
    column(writer.node('Slice', [both, ...[index, index + 1, 1].map((each) => writer.int64([each]))]), n),
  ) as [string, string]
  const centred = writer.node('Sub', [asFloat(writer, x), mean])
  return writer.node('Add', [writer.node('Mul', [centred, factor]), column(asFloat(writer, beta), 1)])
}

/** A value in f32 in the model's type. */
export function stored(writer: OnnxWriter, value: string): string {
  return writer.floatType === 'float' ? value : writer.node('Cast', [value], { to: { int: float16 } })
}

export const normaliseOp: OpDef<NormaliseAttrs> = {
  name: 'normalise',

  infer([x, moments, beta], _attrs, where) {
    if (x?.shape.length !== 4) return shapeError(where, `rows of images are [n, h, w, c], not [${x?.shape}]`)
    checkImageNorm(x.shape, { moments, beta }, where)
    return { shape: x.shape, kind: 'float' }
  },

  cost(_inputs, _attrs, output) {
    return { macs: 0, operations: 3 * elementCount(output.shape) }
  },

  reference([x, moments, beta], _attrs, { shape }) {
    return { shape, ...normalisedImage(x!, { moments: moments!, beta: beta! }) }
  },

  onnx(writer, [x, moments, beta], _attrs, _inputs, { shape }) {
    const norm = { moments: moments!, beta: beta! }
    return stored(writer, normalisedImageName(writer, x!, norm, [shape[0]!, shape[3]!]))
  },
}
