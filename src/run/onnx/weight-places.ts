// Where a segment's parameters come from: mapped from the file as they are where that can be, else read and converted.
// Node only: weight files are local here.
import { realpathSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { PhospheneError } from '../../error.ts'
import type { Value } from '../../graph/graph.ts'
import { elementCount, sameShape } from '../../ops/shapes.ts'
import { toFloat16, toFloat32 } from '../../tensor/convert.ts'
import type { FileDType, StorageDType } from '../../tensor/dtype.ts'
import type { ParameterSource } from '../executor.ts'
import type { StoredTensor } from './export.ts'

/** Either mapped from files of one folder, or in memory: ONNX Runtime takes no mixture within a model. */
export interface WeightPlaces {
  readonly stored: ReadonlyMap<Value, StoredTensor>
  readonly folder?: string
  /** Tensors that were read, by location. */
  readonly memory: readonly { readonly path: string; readonly data: Uint8Array }[]
}

/** Raises 'weights/missing-key' and 'weights/shape'. */
export async function placeWeights(
  params: readonly Value[],
  source: ParameterSource,
  dtype: StorageDType,
): Promise<WeightPlaces> {
  for (const param of params) checkTensor(param, source)
  return mapped(params, source) ?? (await inMemory(params, source, dtype))
}

function mapped(params: readonly Value[], source: ParameterSource): WeightPlaces | undefined {
  const stored = new Map<Value, StoredTensor>()
  const folders = new Set<string>()
  for (const param of params) {
    const type = mappedTypes[source.tensors.get(param.name)!.dtype]
    const place = type && source.locate(param.name)
    if (!place) return undefined
    const path = realpathSync(place.path) // a hub's cache links into its store, which ONNX Runtime would refuse
    folders.add(dirname(path))
    stored.set(param, { type, location: basename(path), offset: place.offset, length: place.length })
  }
  const [folder, ...others] = folders
  return folder === undefined || others.length > 0 ? undefined : { stored, folder, memory: [] }
}

const mappedTypes: Readonly<Partial<Record<FileDType, StorageDType>>> = { F32: 'f32', F16: 'f16' }

async function inMemory(params: readonly Value[], source: ParameterSource, dtype: StorageDType): Promise<WeightPlaces> {
  const stored = new Map<Value, StoredTensor>()
  const memory: { path: string; data: Uint8Array }[] = []
  for (const param of params) {
    const bytes = await source.read(param.name)
    const fileType = source.tensors.get(param.name)!.dtype
    const elements = dtype === 'f32' ? toFloat32(bytes, fileType) : toFloat16(bytes, fileType)
    const data = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength)
    memory.push({ path: param.name, data })
    stored.set(param, { type: dtype, location: param.name, offset: 0, length: data.byteLength })
  }
  return { stored, memory }
}

/** Bytes that the session holds for `param` in `dtype`. */
export function weightBytesOf(param: Value, dtype: StorageDType): number {
  return elementCount(param.shape) * (dtype === 'f32' ? 4 : 2)
}

function checkTensor(param: Value, source: ParameterSource): void {
  const shape = source.tensors.get(param.name)?.shape
  if (shape && sameShape(shape, param.shape)) return
  throw new PhospheneError({
    code: shape ? 'weights/shape' : 'weights/missing-key',
    message: shape
      ? `${source.label}: ${param.name} is [${shape}], the model takes [${param.shape}]`
      : `${source.label} has no tensor ${param.name} [${param.shape}]`,
    fix: 'The config.json and the weights may belong to different models; run `phosphene inspect <model>` to see its tensors.',
  })
}
