// The weights of a plan: each parameter in every layout that a kernel wants, once.
import type { Value } from '../graph/graph.ts'
import type { PreparedWeight } from '../kernels/family.ts'
import { padRows, rowLayout } from './layout.ts'

/** A parameter (or constant) in the layout that its kernel wants. */
export interface PlannedWeight {
  readonly value: Value
  readonly layout: PreparedWeight
  readonly bytes: number
}

export class WeightList {
  readonly all: PlannedWeight[] = []
  private readonly elementBytes: number
  private readonly known = new Map<string, number>()

  constructor(elementBytes: number) {
    this.elementBytes = elementBytes
  }

  /** The number of `value` in the layout `prepared`, rows of channels unless said. */
  indexOf(value: Value, prepared: PreparedWeight | undefined): number {
    const layout = prepared ?? rowsOfChannels(value)
    const key = `${value.id} ${layout.key}`
    const known = this.known.get(key)
    if (known !== undefined) return known
    this.known.set(key, this.all.length)
    this.all.push({ value, layout, bytes: layout.elements * this.elementBytes })
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
