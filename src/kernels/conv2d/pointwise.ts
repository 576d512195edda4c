// 1×1 convolutions of stride 1 without padding are products over pixels: the variants of `matmul`, as they are.
import type { Conv2dAttrs, MatmulAttrs } from '../../ops/attrs.ts'
import type { Operand, Request, Variant } from '../family.ts'
import { convProblemOf } from './problem.ts'

/** The same computation as a product: a [n, h, w, c], b [o, c]. */
function asProduct(request: Request<Conv2dAttrs>): Request<MatmulAttrs> {
  const { o, c } = convProblemOf(request)
  const [x, weight, ...bias] = request.inputs as [Operand, Operand, ...Operand[]]
  return {
    ...request,
    attrs: { transposeA: false, transposeB: true },
    inputs: [x, { ...weight, shape: [o, c], rows: o, channels: c }, ...bias],
  }
}

/** A variant of `matmul` as a variant of `conv2d`. */
export function pointwiseConv<P>(product: Variant<MatmulAttrs, P>): Variant<Conv2dAttrs, P> {
  const { prepare } = product
  return {
    name: `pointwise-${product.name}`,
    tunings: product.tunings,
    supports(request, params) {
      const { kh, kw, stride, upsample } = convProblemOf(request)
      const plain =
        kh === 1 && kw === 1 && stride === 1 && upsample === 1 && request.attrs.padding.every((side) => side === 0)
      // A product normalises rows, not channels.
      return (
        plain &&
        !request.attrs.normalised &&
        request.inputs[1]!.space === 'weight' &&
        product.supports(asProduct(request), params)
      )
    },
    cost: (request, params) => product.cost(asProduct(request), params),
    ...(prepare && {
      prepare: (request: Request<Conv2dAttrs>, params: P, index: number) => prepare(asProduct(request), params, index),
    }),
    emit: (request, params) => product.emit(asProduct(request), params),
    tolerance: product.tolerance,
  }
}
