// 2-D convolution, channels last, weight in the state dict's layout.
import type { Scope, Value } from '../graph/graph.ts'
import type { OnnxWriter, OpDef, RefResult, RefTensor, Shape, TensorType } from '../graph/op.ts'
import type { Conv2dAttrs } from './attrs.ts'
import { convOperands } from './conv-operands.ts'
import { checkImageNorm, normalisedImage, normalisedImageName, stored } from './normalise.ts'
import { shapeError } from './shape-error.ts'
import { elementCount } from './shapes.ts'
import { resized } from './upsample.ts'

export interface Conv2dOptions {
  readonly kernel: number
  readonly stride?: number
  /** All sides, or [top, right, bottom, left]. */
  readonly padding?: number | readonly [number, number, number, number]
  readonly bias?: boolean
}

/** x [n, h, w, c] → [n, h', w', outChannels]; parameters `weight` [o, c, k, k] and `bias` [o]. */
export function conv2d(g: Scope, x: Value, outChannels: number, options: Conv2dOptions): Value {
  const { kernel, stride = 1, padding = 0, bias = true } = options
  const sides = typeof padding === 'number' ? ([padding, padding, padding, padding] as const) : padding
  const inputs = [x, g.param('weight', [outChannels, x.shape.at(-1)!, kernel, kernel])]
  if (bias) inputs.push(g.param('bias', [outChannels]))
  return g.add(conv2dOp, inputs, { stride, padding: sides })
}

/** The picture that the kernel slides over: x, or x enlarged. */
function seen([n, h, w, c]: Shape, attrs: Conv2dAttrs): readonly [number, number, number, number] {
  const factor = attrs.upsample ?? 1
  return [n!, factor * h!, factor * w!, c!]
}

export const conv2dOp: OpDef<Conv2dAttrs> = {
  name: 'conv2d',

  infer(inputs, attrs, where) {
    const { x, weight, bias, norm } = convOperands<TensorType | undefined>(inputs, attrs)
    const {
      stride,
      padding: [top, right, bottom, left],
    } = attrs
    if (x?.shape.length !== 4 || weight?.shape.length !== 4)
      return shapeError(
        where,
        `a convolution takes [n, h, w, c] and [o, c, kh, kw], not [${x?.shape}] and [${weight?.shape}]`,
      )
    const [n, h, w, c] = seen(x.shape, attrs)
    const [o, weightC, kh, kw] = weight.shape as [number, number, number, number]
    if (c !== weightC) shapeError(where, `the input has ${c} channels, the weight takes ${weightC}`)
    if (bias && String(bias.shape) !== String([o]))
      shapeError(where, `the bias is [${bias.shape}], the weight makes ${o} channels`)
    if (norm) checkImageNorm(x.shape, norm, where)
    const height = Math.floor((h + top + bottom - kh) / stride) + 1
    const width = Math.floor((w + left + right - kw) / stride) + 1
    if (height < 1 || width < 1) shapeError(where, `a kernel of ${kh}×${kw} does not fit an image of ${h}×${w}`)
    return { shape: [n, height, width, o], kind: 'float' }
  },

  cost(inputs, attrs, output) {
    const { x, weight, bias, norm } = convOperands(inputs, attrs)
    const elements = elementCount(output.shape)
    const [, c, kh, kw] = weight.shape as [number, number, number, number]
    const operations =
      (bias ? elements : 0) + (norm ? (attrs.normalised === 'silu' ? 8 : 3) * elementCount(x.shape) : 0)
    return { macs: elements * c * kh * kw, operations }
  },

  reference(inputs, attrs, { shape }) {
    const { x, weight, bias } = convOperands(inputs, attrs)
    const terms = summed(inputs, attrs)
    const {
      stride,
      padding: [top, , , left],
      upsample = 1,
    } = attrs
    const [n, height, width, o] = shape as [number, number, number, number]
    const [, h, w, c] = seen(x.shape, attrs)
    const [, rows, columns] = x.shape as [number, number, number, number]
    const [, , kh, kw] = weight.shape as [number, number, number, number]
    const data = new Float64Array(elementCount(shape))
    const scale = new Float64Array(data.length)
    let at = 0
    for (let image = 0; image < n; image++)
      for (let oy = 0; oy < height; oy++)
        for (let ox = 0; ox < width; ox++)
          for (let oc = 0; oc < o; oc++) {
            let sum = bias ? bias.data[oc]! : 0
            let bound = Math.abs(sum)
            for (let ky = 0; ky < kh; ky++) {
              const iy = oy * stride + ky - top
              if (iy < 0 || iy >= h) continue
              for (let kx = 0; kx < kw; kx++) {
                const ix = ox * stride + kx - left
                if (ix < 0 || ix >= w) continue
                const [row, column] = [Math.floor(iy / upsample), Math.floor(ix / upsample)]
                const pixel = ((image * rows + row) * columns + column) * c
                const tap = (oc * c * kh + ky) * kw + kx
                for (let ic = 0; ic < c; ic++) {
                  const factor = weight.data[tap + ic * kh * kw]!
                  sum += terms.data[pixel + ic]! * factor
                  bound += terms.scale[pixel + ic]! * Math.abs(factor)
                }
              }
            }
            data[at] = sum
            scale[at++] = bound
          }
    return { shape, data, scale }
  },

  onnx(writer, inputs, attrs, [type, weight]) {
    const { stride, padding } = attrs
    const shape = seen(type!.shape, attrs)
    const { bias, weight: name } = convOperands(inputs, attrs)
    const x = summedName(writer, inputs, attrs, type!.shape)
    const picture = cropped(writer, attrs.upsample ? resized(writer, x, shape) : x, shape, padding)
    const [top, right, bottom, left] = padding.map((side) => Math.max(0, side)) as [number, number, number, number]
    return writer.node('Conv', [picture, name, ...(bias === undefined ? [] : [bias])], {
      kernel_shape: { ints: weight!.shape.slice(2) },
      strides: { ints: [stride, stride] },
      pads: { ints: [top, left, bottom, right] },
    })
  },
}

/** What the sums are made of: x, or x normalised; and the sum of the |terms| of each element. */
function summed(inputs: readonly RefTensor[], attrs: Conv2dAttrs): Pick<RefResult, 'data' | 'scale'> {
  const { x, norm } = convOperands(inputs, attrs)
  if (!norm) return { data: x.data, scale: x.data.map(Math.abs) }
  const { data, scale } = normalisedImage(x, norm)
  if (attrs.normalised === 'linear') return { data, scale }
  // First order: |silu'| ≤ 1.1, and the result's own rounding.
  return {
    data: data.map((v) => v / (1 + Math.exp(-v))),
    scale: scale.map((s, i) => 1.1 * s + Math.abs(data[i]!)),
  }
}

/** The same in ONNX. */
function summedName(writer: OnnxWriter, inputs: readonly string[], attrs: Conv2dAttrs, shape: Shape): string {
  const { x, norm } = convOperands(inputs, attrs)
  if (!norm) return x
  const linear = normalisedImageName(writer, x, norm, [shape[0]!, shape[3]!])
  const result = attrs.normalised === 'linear' ? linear : writer.node('Mul', [linear, writer.node('Sigmoid', [linear])])
  return stored(writer, result)
}

/** Without the rows and columns that a padding below zero leaves out. */
function cropped(writer: OnnxWriter, x: string, [, h, w]: Shape, padding: Conv2dAttrs['padding']): string {
  if (padding.every((side) => side >= 0)) return x
  const [top, right, bottom, left] = padding.map((side) => Math.max(0, -side)) as [number, number, number, number]
  const [starts, ends, axes] = [
    [top, left],
    [h! - bottom, w! - right],
    [2, 3],
  ] as const
  return writer.node('Slice', [x, writer.int64(starts), writer.int64(ends), writer.int64(axes)])
}
