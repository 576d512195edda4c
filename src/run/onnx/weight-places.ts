// Where a segment's parameters come from: mapped from the file where it holds the type that the model takes, else read.
// Node only: weight files are local here.
import { realpathSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { PhospheneError } from '../../error.ts'
import type { Value } from '../../graph/graph.ts'
import { elementCount, sameShape } from '../../ops/shapes.ts'
import { toFloat16, toFloat32 } from '../../tensor/convert.ts'
import type { StorageDType } from '../../tensor/dtype.ts'
import type { ParameterSource } from '../executor.ts'
import type { StoredTensor } from './export.ts'

export interface WeightPlaces {
  readonly stored: ReadonlyMap<Value, StoredTensor>
  /** The folder that mapped files are in; ONNX Runtime takes one for a model. */
  readonly folder: string | undefined
  /** Tensors that were read into memory, by location. */
  readonly memory: readonly { readonly path: string; readonly data: Uint8Array }[]
}

/** Raises 'weights/missing-key' and 'weights/shape'. */
export async function placeWeights(
  params: readonly Value[],
  source: ParameterSource,
  dtype: StorageDType,
): Promise<WeightPlaces> {
  const stored = new Map<Value, StoredTensor>()
  const memory: { path: string; data: Uint8Array }[] = []
  let folder: string | undefined
  for (const param of params) {
    const tensor = source.tensors.get(param.name)
    if (!tensor) throw missing(param, source)
    if (!sameShape(tensor.shape, param.shape)) throw misshapen(param, tensor.shape, source)
    const type = tensor.dtype === 'F32' ? 'f32' : tensor.dtype === 'F16' ? 'f16' : undefined
    const place = type && source.locate(param.name)
    if (type && place) {
      const path = realpathSync(place.path) // a hub's cache links into its store, which ONNX Runtime would refuse
      folder ??= dirname(path)
      if (dirname(path) === folder) {
        stored.set(param, { type, location: basename(path), offset: place.offset, length: place.length })
        continue
      }
    }
    const bytes = await source.read(param.name)
    const elements = dtype === 'f32' ? toFloat32(bytes, tensor.dtype) : toFloat16(bytes, tensor.dtype)
    const data = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength)
    const path = `memory:${param.name}`
    memory.push({ path, data })
    stored.set(param, { type: dtype, location: path, offset: 0, length: data.byteLength })
  }
  return { stored, folder, memory }
}

/** Bytes that the session holds for `param` in `dtype`. */
export function weightBytesOf(param: Value, dtype: StorageDType): number {
  return elementCount(param.shape) * (dtype === 'f32' ? 4 : 2)
}

function missing(param: Value, source: ParameterSource): PhospheneError {
  return new PhospheneError({
    code: 'weights/missing-key',
    message: `${source.label} has no tensor ${param.name} [${param.shape}]`,
    fix: 'The config.json and the weights may belong to different models; run `phosphene inspect <model>` to see its tensors.',
  })
}

function misshapen(param: Value, shape: readonly number[], source: ParameterSource): PhospheneError {
  return new PhospheneError({
    code: 'weights/shape',
    message: `${source.label}: ${param.name} is [${shape}], the model takes [${param.shape}]`,
    fix: 'The config.json and the weights may belong to different models; run `phosphene inspect <model>` to see its tensors.',
  })
}
