// Nearest neighbour: source row = floor(y · h / height), in integers, so that no rounding of a scale moves a pixel.
import type { UpsampleAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'
import { sizeText } from '../wgsl/number.ts'

function emit(request: Request<UpsampleAttrs>, params: GatherParams): Kernel {
  const [, h, w] = request.inputs[0]!.shape as [number, number, number, number]
  const [height, width] = [sizeText(request.attrs.height), sizeText(request.attrs.width)]
  const value = `fn value(row: u32, group: u32) -> vec4<f32> {
  let x = row % ${width};
  let y = row / ${width} % ${height};
  let n = row / ${sizeText(request.attrs.width * request.attrs.height)};
  let source = (n * ${sizeText(h)} + y * ${sizeText(h)} / ${height}) * ${sizeText(w)} + x * ${sizeText(w)} / ${width};
  return load_x(source, group);
}`
  return gatherKernel('upsample', request, params, ['x'], value)
}

const nearest: Variant<UpsampleAttrs, GatherParams> = {
  name: 'nearest',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: gatherCost,
  emit,
  // A copy: exact but for the epilogue and the store.
  tolerance: { f32: 1, f16: 1 },
}

export const upsampleFamily: Family<UpsampleAttrs> = { op: 'upsample', variants: [nearest] }
