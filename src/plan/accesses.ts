// What each step of a plan reads and writes, as ranges of rows and channel groups of base tensors.
import type { Node, Value } from '../graph/graph.ts'
import { rowLayout } from './layout.ts'
import { isJoin, operandsOf, partsOf, type Views } from './views.ts'

/** A rectangle of a base's rows × channel groups; ends are exclusive. */
export interface Range {
  readonly row: number
  readonly rowEnd: number
  readonly group: number
  readonly groupEnd: number
}

export interface Access extends Range {
  readonly base: Value
  /** Of a read: the kernel loads it at the very element that it stores next, and nowhere else. */
  readonly elementwise: boolean
}

export interface StepAccesses {
  readonly reads: readonly Access[]
  readonly writes: readonly Access[]
}

/** Inputs that a kernel of the op reads element by element before it stores that element: see kernels/family.ts. */
const overwritable: Readonly<Record<string, 'all' | 'first'>> = {
  pointwise: 'all',
  groupNorm: 'first',
  normalise: 'first',
}

export function accessesOf(node: Node, views: Views): StepAccesses {
  const access = (value: Value, elementwise = false): Access => {
    const { base, offset4, stride4 } = views.of.get(value)!
    const { rows, groups4 } = rowLayout(value.shape)
    const [row, group] = [Math.floor(offset4 / stride4), offset4 % stride4]
    return { base, row, rowEnd: row + rows, group, groupEnd: group + groups4, elementwise }
  }
  const copied = isJoin(node) ? copiedParts(node, views) : []
  if (copied.length > 0 && copied.length < node.inputs.length) {
    const whole = access(node.output)
    const part = ({ value, offset4 }: { value: Value; offset4: number }): Access => {
      const own = rowLayout(node.output.shape).groups4
      const { rows, groups4 } = rowLayout(value.shape)
      const [row, group] = [whole.row + Math.floor(offset4 / own), whole.group + (offset4 % own)]
      return { ...whole, row, rowEnd: row + rows, group, groupEnd: group + groups4 }
    }
    return { reads: copied.map(({ value }) => access(value)), writes: copied.map(part) }
  }
  const here = overwritable[node.op.name]
  const sameShape = (value: Value) => String(value.shape) === String(node.output.shape)
  return {
    reads: operandsOf(node).map((value, i) => {
      const own = i >= node.inputs.length || here === 'all' || (here === 'first' && i === 0)
      return access(value, own && sameShape(value))
    }),
    writes: [access(node.output)],
  }
}

/** The parts of a join that are not made in their place. */
export function copiedParts(join: Node, views: Views): readonly { readonly value: Value; readonly offset4: number }[] {
  const whole = views.of.get(join.output)!
  const own = rowLayout(join.output.shape).groups4
  return partsOf(join).filter(({ value, offset4 }) => {
    const { base, offset4: at } = views.of.get(value)!
    const place = whole.offset4 + Math.floor(offset4 / own) * whole.stride4 + (offset4 % own)
    return base !== whole.base || at !== place
  })
}

export function overlaps(a: Range, b: Range): boolean {
  return a.row < b.rowEnd && b.row < a.rowEnd && a.group < b.groupEnd && b.group < a.groupEnd
}

export function sameRange(a: Range, b: Range): boolean {
  return a.row === b.row && a.rowEnd === b.rowEnd && a.group === b.group && a.groupEnd === b.groupEnd
}
