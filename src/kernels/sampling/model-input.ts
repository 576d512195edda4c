// Latents as the model takes them: slot 0 ('x') times inputScale, once for each guidance branch, in the model's storage.
import type { Capabilities, Operand } from '../family.ts'
import { u32Text } from '../wgsl/number.ts'
import { samplingDispatch } from './bind.ts'
import { places, type SamplingDispatch } from './coefficients.ts'

const lanes = 64

/**
 * `operand`: the graph's input for the latents, [branches · n, h, w, c]; `shape`: the latents [n, h, w, c].
 * Binds modelInput, state, coefficients.
 */
export function modelInputDispatch(
  operand: Operand,
  shape: readonly number[],
  { limits }: Pick<Capabilities, 'limits'>,
): SamplingDispatch {
  const channels = shape[shape.length - 1]!
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1)
  const total = operand.rows * operand.groups4
  const latent = (lane: number) => {
    const c = `group * 4u + ${u32Text(lane)}`
    return `state[start + ${channels % 4 === 0 ? c : `min(${c}, ${u32Text(channels - 1)})`}]`
  }
  const body = `  if (invocation >= ${u32Text(total)}) { return; }
  let row = invocation / ${u32Text(operand.groups4)};
  let group = invocation % ${u32Text(operand.groups4)};
  let start = row % ${u32Text(rows)} * ${u32Text(channels)};
  let x = vec4<f32>(${[0, 1, 2, 3].map(latent).join(', ')});
  store_m(row, group, x * coefficients[${places.inputScale}]);`
  const grid = { count: Math.ceil(total / lanes), lanes, limits }
  return samplingDispatch(
    'sampling.modelInput',
    { binding: 'modelInput', operand },
    ['state', 'coefficients'],
    grid,
    '',
    body,
  )
}
