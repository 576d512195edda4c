// A weight on its way to the device: its bytes as they lie in the file, or in the graph, for whoever rearranges them.
import { PhospheneError } from '../../error.ts'
import type { PlannedWeight } from '../../plan/plan.ts'
import { toFloat32 } from '../../tensor/convert.ts'
import { bytesPerElement, type StorageDType } from '../../tensor/dtype.ts'
import { isQuantised } from '../../tensor/quantise.ts'
import type { ParameterSource } from '../executor.ts'
import { quantisedTensor } from '../quantised-parameters.ts'
import { packedQuantised } from './quantised-packing.ts'

/** Element types that the device converts by itself. */
export type IncomingDType = 'F32' | 'F16' | 'BF16'

export interface Incoming {
  readonly weight: PlannedWeight
  /** Where its bytes begin in their file; 0 where they lie in none. */
  readonly place: number
  /** 'packed': the host has made the bytes what the target holds. */
  readonly dtype: IncomingDType | 'packed'
  readonly byteLength: number
  /** Fills `target` with the bytes from `offset` on. */
  fill(offset: number, target: Uint8Array): Promise<void>
}

/** Of buffers that the host fills for the device: MAP_WRITE | COPY_SRC, and how they are mapped. */
export const uploading = { usage: 0x02 | 0x04, mapMode: 2 } as const

export interface UploadOptions {
  readonly dtype: StorageDType
  readonly signal?: AbortSignal | undefined
  /** Told of each weight that was handed to the device. */
  readonly onWeight: (index: number) => void
}

/** The weight as it comes. Raises 'weights/missing-key'. */
export function incoming(weight: PlannedWeight, parameters: ParameterSource): Incoming {
  const { value } = weight
  const count = value.shape.reduce((product, size) => product * size, 1)
  if (value.origin === 'constant') return fromHost(weight, count, async () => value.data!)
  const { name } = value
  const info = parameters.tensors.get(name)
  if (!info)
    throw new PhospheneError({
      code: 'weights/missing-key',
      message: `${parameters.label} has no tensor ${name}`,
      fix: 'Use the weights that belong to this config.json.',
    })
  const { dtype } = info
  const place = parameters.locate(value.parts?.[0] ?? name)?.offset ?? 0
  if (isQuantised(weight.storage)) {
    const { storage } = weight
    const make = async () => packedQuantised(weight, await quantisedTensor(name, storage, parameters))
    return { weight, place, dtype: 'packed', byteLength: weight.bytes, fill: filledOnce(weight.bytes, make) }
  }
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
    return fromHost(weight, count, async () => toFloat32(await parameters.read(name), dtype))
  return {
    weight,
    place,
    dtype,
    byteLength: count * bytesPerElement[dtype],
    async fill(offset, target) {
      if (parameters.readInto) await parameters.readInto(name, offset, target)
      else target.set((await parameters.read(name)).subarray(offset, offset + target.length))
    },
  }
}

/** Bytes that are made when the first are asked for, and dropped when all have been. */
function filledOnce(byteLength: number, make: () => Promise<Uint8Array>): Incoming['fill'] {
  let made: Promise<Uint8Array> | undefined
  let rest = byteLength
  return async (offset, target) => {
    made ??= make()
    const bytes = await made
    target.set(bytes.subarray(offset, offset + target.length))
    rest -= target.length
    if (rest <= 0) made = undefined
  }
}

/** Floats of the host, made when they are asked for. */
function fromHost(weight: PlannedWeight, count: number, make: () => Promise<Float32Array>): Incoming {
  return {
    weight,
    place: 0,
    dtype: 'F32',
    byteLength: count * 4,
    async fill(offset, target) {
      const { buffer, byteOffset } = await make()
      target.set(new Uint8Array(buffer, byteOffset + offset, target.length))
    },
  }
}
