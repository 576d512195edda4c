// Quantised weights on the host: read from a file that holds integers, or made of a file's floats; and as the floats that they
// stand for, for executors that compute with those.
import { PhospheneError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import { quantisableParams } from '../plan/quantised.ts'
import { toFloat32 } from '../tensor/convert.ts'
import { f32ToF16 } from '../tensor/dtype.ts'
import {
  dequantise,
  isQuantised,
  type QuantisedFormat,
  type QuantisedTensor,
  quantise,
  type WeightFormat,
} from '../tensor/quantise.ts'
import type { ParameterSource } from './executor.ts'

/** What was asked for, else what the file holds. Raises 'weights/quantised' where the file holds other integers. */
export function weightFormat(
  asked: WeightFormat | undefined,
  { label, quantised }: ParameterSource,
): WeightFormat | undefined {
  if (!quantised || asked === undefined || asked === 'f16' || asked === quantised.format)
    return asked ?? quantised?.format
  throw new PhospheneError({
    code: 'weights/quantised',
    message: `${label} holds ${quantised.format} weights, asked for are ${asked}`,
    fix: `Leave --weights out, or quantise the original model again (\`phosphene quantize\`).`,
  })
}

/** A parameter's integers. */
export async function quantisedTensor(
  name: string,
  format: QuantisedFormat,
  source: ParameterSource,
): Promise<QuantisedTensor> {
  if (source.quantised?.format === format && source.quantised.has(name)) return source.quantised.read(name)
  const { dtype, shape } = source.tensors.get(name)!
  return quantise(toFloat32(await source.read(name), dtype), format, shape)
}

/** A view of `source` in which parameters that `asked` quantises are what they are then, as F16, which holds it exactly. */
export function withQuantised(graph: Graph, source: ParameterSource, asked: WeightFormat | undefined): ParameterSource {
  const format = weightFormat(asked, source)
  if (!isQuantised(format) || source.quantised) return source // what a file holds, it gives as F16 itself
  const names = new Set([...quantisableParams(graph)].map(({ name }) => name))
  const tensors = new Map(source.tensors)
  for (const name of names) {
    const info = source.tensors.get(name)
    if (info) tensors.set(name, { ...info, dtype: 'F16' })
  }
  const read = async (name: string): Promise<Uint8Array> => {
    if (!names.has(name)) return source.read(name)
    const halves = f32ToF16(dequantise(await quantisedTensor(name, format, source)))
    return new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength)
  }
  return {
    label: source.label,
    tensors,
    read,
    locate: (name) => (names.has(name) ? undefined : source.locate(name)),
  }
}
