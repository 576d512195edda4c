// Parameters that passes made by stacking others (Value.parts), read from a source that knows only those.
import { PhospheneError } from '../error.ts'
import type { Graph, Value } from '../graph/graph.ts'
import { toFloat32 } from '../tensor/convert.ts'
import { bytesPerElement } from '../tensor/dtype.ts'
import type { QuantisedTensors } from '../tensor/quantise.ts'
import type { ParameterSource } from './executor.ts'

/** A view of `source` that has the graph's stacked parameters as well. Raises 'weights/missing-key' where a part is missing. */
export function withStacked(graph: Graph, source: ParameterSource): ParameterSource {
  const stacked = new Map([...graph.params].filter(([, { parts }]) => parts !== undefined))
  if (stacked.size === 0) return source
  const tensors = new Map(source.tensors)
  for (const [name, value] of stacked) tensors.set(name, stackedInfo(value, source))
  return {
    label: source.label,
    tensors,
    async read(name) {
      const parts = stacked.get(name)?.parts
      if (!parts) return source.read(name)
      const { dtype } = tensors.get(name)!
      const bytes = await Promise.all(
        parts.map(async (part) => {
          const own = await source.read(part)
          const type = source.tensors.get(part)!.dtype
          return type === dtype ? own : bytesOf(toFloat32(own, type))
        }),
      )
      return joined(bytes)
    },
    async readInto(name, offset, target) {
      const parts = stacked.get(name)?.parts ?? [name]
      const { dtype } = tensors.get(name) ?? missing(source.label, name)
      const own = parts.map((part) => source.tensors.get(part)!)
      // Of several types: they meet in `read`, as floats.
      if (!source.readInto || own.some((each) => each.dtype !== dtype)) {
        target.set((await this.read(name)).subarray(offset, offset + target.length))
        return
      }
      const reads: Promise<void>[] = []
      let start = 0
      for (const [i, { shape }] of own.entries()) {
        const end = start + shape.reduce((product, size) => product * size, bytesPerElement[dtype])
        const [from, to] = [Math.max(start, offset), Math.min(end, offset + target.length)]
        if (from < to) reads.push(source.readInto(parts[i]!, from - start, target.subarray(from - offset, to - offset)))
        start = end
      }
      // All of them are over before this is: nothing may be written into `target` afterwards.
      for (const result of await Promise.allSettled(reads)) if (result.status === 'rejected') throw result.reason
    },
    quantised: source.quantised && stackedQuantised(stacked, source.quantised),
    locate: (name) => (stacked.has(name) ? undefined : source.locate(name)),
  }
}

/** Columns one after the other: integers and scales of the parts alike. */
function stackedQuantised(stacked: ReadonlyMap<string, Value>, source: QuantisedTensors): QuantisedTensors {
  return {
    format: source.format,
    has: (name) => (stacked.get(name)?.parts ?? [name]).every((part) => source.has(part)),
    async read(name) {
      const value = stacked.get(name)
      if (!value) return source.read(name)
      const parts = await Promise.all(value.parts!.map((part) => source.read(part)))
      const values = new Int8Array(parts.reduce((sum, part) => sum + part.values.length, 0))
      const scales = new Uint16Array(parts.reduce((sum, part) => sum + part.scales.length, 0))
      let [valuesEnd, scalesEnd] = [0, 0]
      for (const part of parts) {
        values.set(part.values, valuesEnd)
        scales.set(part.scales, scalesEnd)
        valuesEnd += part.values.length
        scalesEnd += part.scales.length
      }
      return { ...parts[0]!, shape: value.shape, values, scales }
    },
  }
}

/** Of the parts' type where they have one, else F32. */
function stackedInfo({ parts, shape }: Value, source: ParameterSource) {
  const tensors = parts!.map((name) => source.tensors.get(name) ?? missing(source.label, name))
  const [first] = tensors
  const dtype = tensors.every((each) => each.dtype === first!.dtype) ? first!.dtype : ('F32' as const)
  const rows = tensors.reduce((sum, each) => sum + each.shape[0]!, 0)
  const fits = tensors.every((each) => String(each.shape.slice(1)) === String(shape.slice(1)))
  // Executors compare this with what the graph takes: a part of another shape shows there.
  return { dtype, shape: fits ? [rows, ...shape.slice(1)] : [rows] }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let end = 0
  for (const part of parts) {
    all.set(part, end)
    end += part.byteLength
  }
  return all
}

function missing(label: string, name: string): never {
  throw new PhospheneError({
    code: 'weights/missing-key',
    message: `${label} has no tensor ${name}`,
    fix: 'Use the weights that belong to this config.json.',
  })
}
