// What follows the model in a step, in one kernel: guidance, denoised = a·x + b·model (clamped where the row says so), and
// every slot anew from the old ones, all in f32. Terms whose coefficient is 0 are not read into a sum: history that no step
// has written yet may hold anything.
import type { Capabilities, Operand } from '../family.ts'
import { u32Text } from '../wgsl/number.ts'
import { samplingDispatch } from './bind.ts'
import { places, type SamplingDispatch, slotStride } from './coefficients.ts'
import { guidedText } from './guidance.ts'

const lanes = 64

export interface SamplerRowOptions {
  /** Latents [n, h, w, c]. */
  readonly shape: readonly number[]
  readonly slots: number
  /** 2: the model's batch is [negative, positive]. */
  readonly branches: 1 | 2
  /** Whether guidanceRescale has written `factors`. */
  readonly rescaled: boolean
}

/**
 * `operand`: the graph's output, [branches · n, h, w, c]. Binds modelOutput, state, noise, coefficients, flags, and factors
 * when `rescaled`. `noise` is bound always and read only where a coefficient asks for it.
 */
export function samplerRowDispatch(
  operand: Operand,
  { shape, slots, branches, rescaled }: SamplerRowOptions,
  { limits }: Pick<Capabilities, 'limits'>,
): SamplingDispatch {
  const channels = shape[shape.length - 1]!
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1)
  const elements = rows * channels
  const stride = u32Text(slotStride(elements))
  const columns = slots + 3
  const factor = rescaled ? ` * factors[row / ${u32Text(rows / shape[0]!)}]` : ''
  // Exponent all ones: infinite or NaN. A comparison of floats would not do: WGSL may assume that they are finite.
  const functions = `${guidedText(rows, branches)}
fn term(factor: f32, value: f32) -> f32 {
  if (factor == 0.0) { return 0.0; }
  return factor * value;
}
fn notFinite(value: f32) -> u32 {
  return select(0u, 1u, (bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u);
}`
  const body = `  let i = invocation;
  if (i >= ${u32Text(elements)}) { return; }
  let row = i / ${u32Text(channels)};
  let model = guided(row, i % ${u32Text(channels)})${factor};
  var values: array<f32, ${columns}>;
  for (var s = 0u; s < ${u32Text(slots)}; s++) { values[s] = state[s * ${stride} + i]; }
  let clip = coefficients[${places.clip}];
  let denoised = term(coefficients[${places.denoisedX}], values[0]) + term(coefficients[${places.denoisedModel}], model);
  values[${slots}] = model;
  values[${slots + 1}] = select(denoised, clamp(denoised, -clip, clip), notFinite(denoised) == 0u);
  values[${slots + 2}] = noise[i];
  var bad = notFinite(model);
  for (var s = 0u; s < ${u32Text(slots)}; s++) {
    var sum = 0.0;
    for (var t = 0u; t < ${u32Text(columns)}; t++) {
      sum += term(coefficients[${places.matrix}u + s * ${u32Text(columns)} + t], values[t]);
    }
    // History may be unwritten still; x never is.
    if (s == 0u) { bad |= notFinite(sum); }
    state[s * ${stride} + i] = sum;
  }
  if (bad != 0u) { atomicAdd(&flags[0], 1u); }`
  return samplingDispatch(
    'sampling.row',
    { binding: 'modelOutput', operand },
    ['state', 'noise', 'coefficients', 'flags', ...(rescaled ? (['factors'] as const) : [])],
    { count: Math.ceil(elements / lanes), lanes, limits },
    functions,
    body,
  )
}
