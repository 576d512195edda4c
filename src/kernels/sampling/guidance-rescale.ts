// Guidance rescale: Lin et al. 2023, arXiv:2305.08891, section 3.4, as diffusers' rescale_noise_cfg does it. For each picture
//   factor = rescale · std(conditional) / std(guided) + 1 − rescale, unbiased deviations over all but the batch,
// by which samplerRow multiplies the guided output. One workgroup a picture: latents are small.
import type { Capabilities, Operand } from '../family.ts'
import { workgroupSumText } from '../layer-norm/workgroup-sum.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { samplingDispatch } from './bind.ts'
import { places, type SamplingDispatch } from './coefficients.ts'
import { guidedText } from './guidance.ts'

/**
 * `operand`: the graph's output, [2 · n, h, w, c]; `shape`: the latents [n, h, w, c]. Runs before samplerRow, and only when
 * the rescale is not 0. Binds modelOutput, coefficients, factors.
 */
export function guidanceRescaleDispatch(
  operand: Operand,
  shape: readonly number[],
  { limits, kind }: Pick<Capabilities, 'limits' | 'kind'>,
): SamplingDispatch {
  const lanes = kind === 'software' ? 1 : 256 // barriers cost more than the sum there
  const n = shape[0]!
  const channels = shape[shape.length - 1]!
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1)
  const elements = (rows / n) * channels
  const walk = (text: string) => `for (var e = lane; e < ${u32Text(elements)}; e += ${u32Text(lanes)}) {
    let row = job * ${u32Text(rows / n)} + e / ${u32Text(channels)};
    let channel = e % ${u32Text(channels)};
    ${text}
  }`
  const body = `  var sums = vec2<f32>(0.0);
  ${walk('sums += vec2<f32>(conditional(row, channel), guided(row, channel));')}
  let means = vec2<f32>(workgroupSum(lane, sums.x), workgroupSum(lane, sums.y)) / ${f32Text(elements)};
  var squares = vec2<f32>(0.0);
  ${walk('let d = vec2<f32>(conditional(row, channel), guided(row, channel)) - means;\n    squares += d * d;')}
  let ratio = sqrt(workgroupSum(lane, squares.x) / workgroupSum(lane, squares.y)); // of deviations: the counts cancel
  let rescale = coefficients[${places.guidanceRescale}];
  if (lane == 0u) { factors[job] = rescale * ratio + 1.0 - rescale; }`
  return samplingDispatch(
    'sampling.guidanceRescale',
    { binding: 'modelOutput', operand },
    ['coefficients', 'factors'],
    { count: n, lanes, limits },
    `${guidedText(rows, 2)}\n${workgroupSumText(lanes)}`,
    body,
  )
}
