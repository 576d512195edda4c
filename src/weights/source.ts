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

/** A tensor of a view: one below it, or some of its rows. */
export interface ViewOf {
  /** Its name below. */
  readonly of: string
  readonly shape: readonly number[]
  /** First row of the one below that belongs to it; with `shape`, the rows from there. */
  readonly firstRow?: number
}

/**
 * A view of `source` under other names. Raises 'weights/header' when two tensors get the same name.
 * @param rename undefined drops the tensor
 */
export function renamed(source: WeightSource, rename: (tensor: TensorInfo) => Renaming | undefined): WeightSource {
  const views: [string, ViewOf][] = []
  for (const tensor of source.tensors.values()) {
    const view = rename(tensor)
    if (view) views.push([view.name, { of: tensor.name, shape: view.shape ?? tensor.shape }])
  }
  return viewed(source, views)
}

/** A view whose tensors are tensors of `source`, or rows of them. Raises 'weights/header' when two have the same name. */
export function viewed(source: WeightSource, views: Iterable<readonly [string, ViewOf]>): WeightSource {
  const tensors = new Map<string, TensorInfo>()
  const below = new Map<string, ViewOf & { readonly offset: number }>()
  for (const [name, view] of views) {
    const other = below.get(name)
    if (other !== undefined)
      throw new PhospheneError({
        code: 'weights/header',
        message: `${source.label}: ${other.of} and ${view.of} are two names for the same tensor ${name}`,
        fix: 'Save the checkpoint again with only one of them.',
      })
    const whole = source.tensors.get(view.of) ?? missing(source.label, view.of)
    const rowBytes = view.firstRow === undefined ? 0 : whole.byteLength / whole.shape[0]!
    const byteLength = view.firstRow === undefined ? whole.byteLength : rowBytes * view.shape[0]!
    tensors.set(name, { ...whole, name, shape: view.shape, byteLength })
    below.set(name, { ...view, offset: rowBytes * (view.firstRow ?? 0) })
  }
  const under = (name: string) => below.get(name) ?? missing(source.label, name)
  return {
    label: source.label,
    tensors,
    async read(name) {
      const { of, firstRow, offset } = under(name)
      if (firstRow === undefined) return source.read(of)
      const target = new Uint8Array(tensors.get(name)!.byteLength)
      await source.readInto(of, offset, target)
      return target
    },
    async readInto(name, offset, target) {
      const view = under(name)
      return source.readInto(view.of, view.offset + offset, target)
    },
    locate(name) {
      const view = below.get(name)
      const place = view && source.locate(view.of)
      return place && { path: place.path, offset: place.offset + view.offset, length: tensors.get(name)!.byteLength }
    },
    quantised: source.quantised && {
      format: source.quantised.format,
      has: (name) => source.quantised!.has(below.get(name)?.of ?? ''),
      read: async (name) => ({ ...(await source.quantised!.read(under(name).of)), shape: tensors.get(name)!.shape }),
    },
    close: () => source.close(),
  }
}

/** The view of a source; where it raises, the source is closed. */
export async function viewOrClose<S extends WeightSource>(
  source: S,
  view: (source: S) => WeightSource,
): Promise<WeightSource> {
  try {
    return view(source)
  } catch (error) {
    await source.close()
    throw error
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
