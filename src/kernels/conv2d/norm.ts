// A convolution whose image is normalised as it is loaded: x → (x − mean) · scale + beta in f32, by channel, through SiLU where that
// is asked for (`normalised` of ops/attrs.ts). The mean comes off first, so nothing cancels; scale and beta are zero in the channels
// beyond the last, and so is what comes out. What lies outside the image is zero after it, not before.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import type { Request } from '../family.ts'

const summed: ReadonlySet<string> = new Set(['x', 'weight', 'moments', 'beta'])

/** Whether sums are made of the operand: all others meet the finished ones. */
export function isSummed({ name }: { readonly name: string }): boolean {
  return summed.has(name)
}

/** `fn normalised(x, mean, scale, shift) -> vec4<f32>`, or nothing. */
export function normalisedText({ attrs }: Request<Conv2dAttrs>): string {
  if (!attrs.normalised) return ''
  return `fn normalised(x: vec4<f32>, mean: vec4<f32>, scale: vec4<f32>, shift: vec4<f32>) -> vec4<f32> {
  let v = (x - mean) * scale + shift;
  return ${attrs.normalised === 'silu' ? 'v / (1.0 + exp(-v))' : 'v'};
}
`
}

/** The same with what an image and a group of channels are normalised by looked up: `fn normalisedAt(image, group, x)`. */
export function convNormText(request: Request<Conv2dAttrs>): string {
  if (!request.attrs.normalised) return ''
  return `${normalisedText(request)}fn normalisedAt(image: u32, group: u32, x: vec4<f32>) -> vec4<f32> {
  return normalised(x, load_moments(image * 2u, group), load_moments(image * 2u + 1u, group), load_beta(0u, group));
}
`
}
