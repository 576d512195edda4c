// The weights of a plan: each parameter in every layout that a kernel wants, once.
import type { Value } from '../graph/graph.ts'
import type { PreparedWeight, QuantisedLayout, Storage } from '../kernels/family.ts'
import { quantisedBytes } from '../kernels/wgsl/quantised.ts'
import { isQuantised } from '../tensor/quantise.ts'
import { groupBytes, padRows, rowLayout } from './layout.ts'

/** A parameter (or constant) in the layout that its kernel wants. */
export interface PlannedWeight {
  readonly value: Value
  readonly layout: PreparedWeight
  readonly storage: Storage
  /** Where the storage is 'int8' or 'int4'. */
  readonly quantised?: QuantisedLayout | undefined
  readonly bytes: number
}

export class WeightList {
  readonly all: PlannedWeight[] = []
  private readonly storageOf: (value: Value) => Storage
  private readonly known = new Map<string, number>()

  constructor(storageOf: (value: Value) => Storage) {
    this.storageOf = storageOf
  }

  /** The number of `value` in the layout `prepared`, rows of channels unless said. `quantised`: where it is stored so. */
  indexOf(value: Value, prepared: PreparedWeight | undefined, quantised?: QuantisedLayout): number {
    const layout = prepared ?? rowsOfChannels(value)
    const key = `${value.id} ${layout.key}`
    const known = this.known.get(key)
    if (known !== undefined) return known
    this.known.set(key, this.all.length)
    const storage = this.storageOf(value)
    const bytes =
      isQuantised(storage) && quantised
        ? quantisedBytes(storage, quantised)
        : (layout.elements / 4) * groupBytes[storage]
    this.all.push({ value, layout, storage, quantised, bytes })
    return this.all.length - 1
  }
}

function rowsOfChannels(value: Value): PreparedWeight {
  const layout = rowLayout(value.shape)
  return {
    key: 'rows',
    elements: layout.rows * layout.groups4 * 4,
    permutation: {
      sizes: [1, layout.rows, layout.groups4 * 4],
      limits: [1, layout.rows, layout.channels],
      strides: [0, layout.channels, 1],
    },
    pack: (source, target) => padRows(source, layout, target),
  }
}
