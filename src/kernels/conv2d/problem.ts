// A convolution as its kernels see it: sizes, the packed weight, and the parts of the text that all variants share.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import { convOperands } from '../../ops/conv-operands.ts'
import type { Operand, PreparedWeight, Request } from '../family.ts'
import { transposeInto } from '../matmul/pack.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { type Io, ioText, requestOperands } from '../wgsl/io.ts'
import { convNormText } from './norm.ts'

export interface ConvProblem {
  readonly n: number
  /** The picture that the kernel slides over: with `upsample`, x enlarged. */
  readonly h: number
  readonly w: number
  /** x as it is stored, `upsample` times as small. */
  readonly storedH: number
  readonly storedW: number
  readonly upsample: 1 | 2
  readonly c: number
  readonly c4: number
  readonly oh: number
  readonly ow: number
  readonly o: number
  readonly o4: number
  readonly kh: number
  readonly kw: number
  readonly stride: number
  readonly top: number
  readonly left: number
  readonly bias: boolean
  readonly normalised: Conv2dAttrs['normalised']
}

export function convProblemOf({ attrs, inputs, output }: Request<Conv2dAttrs>): ConvProblem {
  const { x, weight, bias } = convOperands<Operand>(inputs, attrs)
  const [n, storedH, storedW, c] = x.shape as [number, number, number, number]
  const { upsample = 1 } = attrs
  const [o, , kh, kw] = weight.shape as [number, number, number, number]
  const [, oh, ow] = output.shape as [number, number, number, number]
  return {
    n,
    h: storedH * upsample,
    w: storedW * upsample,
    storedH,
    storedW,
    upsample,
    c,
    c4: Math.ceil(c / 4),
    oh,
    ow,
    o,
    o4: Math.ceil(o / 4),
    kh,
    kw,
    stride: attrs.stride,
    top: attrs.padding[0],
    left: attrs.padding[3],
    bias: bias !== undefined,
    normalised: attrs.normalised,
  }
}

/** The row or column of x as it is stored that is `index` (a u32) of the picture that the kernel slides over. */
export function storedIndex({ upsample }: ConvProblem, index: string): string {
  return upsample === 2 ? `(${index} >> 1u)` : index
}

/** The product that a convolution is: a row an output pixel, k over (ky, kx, c). */
export const productOf = ({ n, oh, ow, o4, kh, kw, c4 }: ConvProblem) =>
  ({ batches: 1, m: n * oh * ow, n4: o4, k4: kh * kw * c4, halves: 1 }) as const

/** `fn finish(row, group, v)`: bias, epilogue and the store of a pixel's group. */
export function convFinishText(request: Request<Conv2dAttrs>): string {
  const { bias } = convOperands<Operand>(request.inputs, request.attrs)
  return `${epilogueText(request)}
fn finish(row: u32, group: u32, v: vec4<f32>) {
  store_y(row, group, epilogue(row, group, ${bias ? 'v + at_bias(group)' : 'v'}));
}`
}

/** The names of a convolution's inputs in its text, in their order. */
export function convNames({ inputs, attrs }: Request<Conv2dAttrs>): readonly string[] {
  const names = convOperands<Operand>(inputs, attrs).bias ? ['x', 'weight', 'bias'] : ['x', 'weight']
  return attrs.normalised ? [...names, 'moments', 'beta'] : names
}

/** Bindings and accessors, and `finish`. */
export function convText(request: Request<Conv2dAttrs>): { io: Io; text: string } {
  const io = ioText(requestOperands(request, convNames(request)))
  return { io, text: `${convNormText(request)}${convFinishText(request)}` }
}

/** The weight [o, c, kh, kw] as [kh·kw][c padded to 4][o padded to 4], zero in the padding. */
export function packConv({ o, c, kh, kw, o4, c4 }: ConvProblem): PreparedWeight {
  const taps = kh * kw
  return {
    key: `conv-kko4:${o}x${c}x${kh}x${kw}`,
    elements: taps * c4 * 4 * o4 * 4,
    permutation: { sizes: [taps, c4 * 4, o4 * 4], limits: [taps, c, o], strides: [1, taps, c * taps] },
    pack(source, target) {
      if (o % 4 !== 0 || c % 4 !== 0) target.fill(0)
      const start = new Int32Array(c * taps)
      for (let channel = 0; channel < c; channel++) {
        for (let tap = 0; tap < taps; tap++) start[channel * taps + tap] = (tap * c4 * 4 + channel) * o4 * 4
      }
      transposeInto(source, 0, target, { rows: o, columns: c * taps, start })
    },
  }
}

/** `prepare` of every variant of the family that reads packed weights. */
export function prepareConv(request: Request<Conv2dAttrs>, index: number): PreparedWeight | undefined {
  return index === 1 ? packConv(convProblemOf(request)) : undefined
}
