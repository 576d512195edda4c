// Files of quantised weights (docs/quantised-weights.md): beside each tensor of integers one of its scales. Seen as a source whose
// tensors are F16, which is what the integers stand for exactly; who wants the integers themselves finds them in `quantised`.
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'
import { f32ToF16 } from '../tensor/dtype.ts'
import {
  blocksOf,
  dequantise,
  matrixOf,
  packNibbles,
  type QuantisedFormat,
  type QuantisedTensor,
  quantisedFormats,
  unpackNibbles,
} from '../tensor/quantise.ts'
import type { SafetensorsSource } from './safetensors.ts'
import type { TensorInfo, WeightSource } from './source.ts'

const scalesOf = (name: string) => `${name}.scales`

const layoutSchema = v.object({
  format: v.picklist(quantisedFormats),
  tensors: v.record(
    v.string(),
    v.object({ shape: v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1))), v.minLength(2)) }),
  ),
})

/** The key of the file's metadata under which its layout is told, as JSON. */
const metadataKey = 'phosphene.quantised'

/** A tensor to quantise. */
export interface QuantisedEntry {
  readonly name: string
  readonly shape: readonly number[]
}

export function quantisedMetadata(format: QuantisedFormat, entries: readonly QuantisedEntry[]): Record<string, string> {
  const tensors = Object.fromEntries(entries.map(({ name, shape }) => [name, { shape }]))
  return { [metadataKey]: JSON.stringify({ format, tensors }) }
}

/** What the file has of a quantised tensor: integers, int4 as pairs, and scales. */
export function quantisedHeaders(format: QuantisedFormat, { name, shape }: QuantisedEntry) {
  const elements = shape.reduce((product, size) => product * size, 1)
  const integers =
    format === 'int8'
      ? { name, dtype: 'I8' as const, shape }
      : { name, dtype: 'U8' as const, shape: [Math.ceil(elements / 2)] }
  return {
    integers,
    scales: { name: scalesOf(name), dtype: 'F16' as const, shape: [matrixOf(shape).columns, blocksOf(format, shape)] },
  }
}

export function quantisedBytesOf({ format, values, scales }: QuantisedTensor): {
  integers: Uint8Array
  scales: Uint8Array
} {
  return {
    integers: format === 'int8' ? new Uint8Array(values.buffer, values.byteOffset, values.length) : packNibbles(values),
    scales: new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength),
  }
}

/** The source as it is, or the view of a quantised file. Raises 'weights/quantised' where the file contradicts itself. */
export function openQuantised(source: SafetensorsSource): WeightSource {
  const text = source.metadata[metadataKey]
  if (text === undefined) return source
  const { format, tensors: layout } = parseLayout(source.label, text)
  const entries = new Map(Object.entries(layout).map(([name, entry]) => [name, { name, ...entry }]))
  const tensors = new Map<string, TensorInfo>(source.tensors)
  for (const entry of entries.values()) {
    const { name, shape } = entry
    for (const wanted of Object.values(quantisedHeaders(format, entry))) checkHeader(source, wanted)
    tensors.delete(scalesOf(name))
    tensors.set(name, { name, dtype: 'F16', shape, byteLength: shape.reduce((product, size) => product * size, 2) })
  }
  const readQuantised = async (name: string): Promise<QuantisedTensor> => {
    const { shape } = entries.get(name)!
    const [bytes, scaleBytes] = await Promise.all([source.read(name), source.read(scalesOf(name))])
    const count = shape.reduce((product, size) => product * size, 1)
    const values =
      format === 'int8' ? new Int8Array(bytes.buffer, bytes.byteOffset, count) : unpackNibbles(bytes, count)
    return { format, shape, values, scales: new Uint16Array(scaleBytes.slice().buffer) }
  }
  const read = async (name: string): Promise<Uint8Array> => {
    if (!entries.has(name)) return source.read(name)
    return new Uint8Array(f32ToF16(dequantise(await readQuantised(name))).buffer)
  }
  return {
    label: source.label,
    tensors,
    read,
    async readInto(name, offset, target) {
      if (entries.has(name)) target.set((await read(name)).subarray(offset, offset + target.length))
      else await source.readInto(name, offset, target)
    },
    locate: (name) => (entries.has(name) ? undefined : source.locate(name)),
    quantised: { format, has: (name) => entries.has(name), read: readQuantised },
    close: () => source.close(),
  }
}

function parseLayout(file: string, text: string): v.InferOutput<typeof layoutSchema> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw contradiction(file, `its layout is not JSON: ${(error as Error).message}`)
  }
  const parsed = v.safeParse(layoutSchema, json)
  if (parsed.success) return parsed.output
  const [issue] = parsed.issues
  throw contradiction(file, `${v.getDotPath(issue) ?? 'its layout'}: ${issue.message}`)
}

function checkHeader(
  { label, tensors }: SafetensorsSource,
  { name, dtype, shape }: Pick<TensorInfo, 'name' | 'dtype' | 'shape'>,
): void {
  const found = tensors.get(name)
  if (found?.dtype === dtype && String(found.shape) === String(shape)) return
  const is = found ? `is ${found.dtype} [${found.shape}]` : 'is missing'
  throw contradiction(label, `tensor ${name} ${is}, its layout asks for ${dtype} [${shape}]`)
}

function contradiction(file: string, what: string): PhospheneError {
  return new PhospheneError({
    code: 'weights/quantised',
    message: `${file}: ${what}`,
    fix: 'Write the file again with `phosphene quantize`, or use the original model.',
  })
}
