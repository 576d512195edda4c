// Named tensors, read one at a time. Sources stack: a view renames, drops or reshapes what the source below holds.
import { PhospheneError } from '../error.ts'
import type { FileDType } from '../tensor/dtype.ts'
import type { QuantisedTensors } from '../tensor/quantise.ts'

export interface TensorInfo {
  readonly name: string
  readonly dtype: FileDType
  readonly shape: readonly number[]
  readonly byteLength: number
}

/** Where a tensor's bytes lie in a local file. */
export interface TensorPlace {
  readonly path: string
  readonly offset: number
  readonly length: number
}

export interface WeightSource {
  /** For messages: the file or folder. */
  readonly label: string
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** The tensor's bytes, row-major, little-endian, at any alignment. Raises 'weights/missing-key'. */
  read(name: string): Promise<Uint8Array>
  /** Fills `target` with the tensor's bytes from `offset` on. Raises 'weights/missing-key'. */
  readInto(name: string, offset: number, target: Uint8Array): Promise<void>
  /** Undefined where the bytes lie in no local file, or not as they are read. */
  locate(name: string): TensorPlace | undefined
  /** Tensors of which the file holds integers; what `read` gives of them are the halves that they stand for. */
  readonly quantised?: QuantisedTensors | undefined
  close(): Promise<void>
}

/** What a tensor is called in a view, and its shape there if that changes (the elements stay as they are). */
export interface Renaming {
  readonly name: string
  readonly shape?: readonly number[]
}

/**
 * A view of `source` under other names. Raises 'weights/header' when two tensors get the same name.
 * @param rename undefined drops the tensor
 */
export function renamed(source: WeightSource, rename: (tensor: TensorInfo) => Renaming | undefined): WeightSource {
  const tensors = new Map<string, TensorInfo>()
  const below = new Map<string, string>()
  for (const tensor of source.tensors.values()) {
    const view = rename(tensor)
    if (!view) continue
    const other = below.get(view.name)
    if (other !== undefined)
      throw new PhospheneError({
        code: 'weights/header',
        message: `${source.label}: ${other} and ${tensor.name} are two names for the same tensor ${view.name}`,
        fix: 'Save the checkpoint again with only one of them.',
      })
    tensors.set(view.name, { ...tensor, name: view.name, shape: view.shape ?? tensor.shape })
    below.set(view.name, tensor.name)
  }
  return {
    label: source.label,
    tensors,
    async read(name) {
      return source.read(below.get(name) ?? missing(source.label, name))
    },
    async readInto(name, offset, target) {
      return source.readInto(below.get(name) ?? missing(source.label, name), offset, target)
    },
    locate(name) {
      const under = below.get(name)
      return under === undefined ? undefined : source.locate(under)
    },
    quantised: source.quantised && {
      format: source.quantised.format,
      has: (name) => source.quantised!.has(below.get(name) ?? ''),
      read: async (name) => ({
        ...(await source.quantised!.read(below.get(name) ?? missing(source.label, name))),
        shape: tensors.get(name)!.shape,
      }),
    },
    close: () => source.close(),
  }
}

/**
 * Several sources as one, in which `owner` says who holds which tensor (a sharded checkpoint's index).
 * Raises 'weights/missing-key' when a tensor is not where the index says.
 */
export function joined(label: string, owner: ReadonlyMap<string, WeightSource>): WeightSource {
  const tensors = new Map<string, TensorInfo>()
  for (const [name, source] of owner) tensors.set(name, source.tensors.get(name) ?? missing(source.label, name))
  return {
    label,
    tensors,
    async read(name) {
      return (owner.get(name) ?? missing(label, name)).read(name)
    },
    async readInto(name, offset, target) {
      return (owner.get(name) ?? missing(label, name)).readInto(name, offset, target)
    },
    locate: (name) => owner.get(name)?.locate(name),
    async close() {
      await Promise.all([...new Set(owner.values())].map((source) => source.close()))
    },
  }
}

/** Raises 'weights/missing-key'. */
export function missing(label: string, name: string): never {
  throw new PhospheneError({
    code: 'weights/missing-key',
    message: `${label} has no tensor ${name}`,
    fix: 'Use the weights that belong to this config.json, or download them again.',
  })
}
