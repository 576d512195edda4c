// Which results may take the memory of a tensor that dies with them. A kernel loads an epilogue's operands, and a pointwise
// node its inputs, at the very element that it stores next (kernels/family.ts), so sharing that memory is safe.
import type { Graph, Value } from '../graph/graph.ts'
import { type Access, overlaps, type StepAccesses, sameRange } from './accesses.ts'
import { rowLayout } from './layout.ts'
import type { Views } from './views.ts'

interface Timed extends Access {
  readonly step: number
}

/** For each base value that takes over another's memory: the value that owns it. */
export function reuseInPlace(graph: Graph, steps: readonly StepAccesses[], views: Views): ReadonlyMap<Value, Value> {
  const reads = new Map<Value, Timed[]>()
  const writes = new Map<Value, Timed[]>()
  const record = (map: Map<Value, Timed[]>, access: Access, step: number) => {
    const known = map.get(access.base)
    if (known) known.push({ ...access, step })
    else map.set(access.base, [{ ...access, step }])
  }
  steps.forEach((each, step) => {
    for (const access of each.reads) record(reads, access, step)
    for (const access of each.writes) record(writes, access, step)
  })
  const kept = new Set([...graph.outputs.values()].map((value) => views.of.get(value)!.base))

  const owners = new Map<Value, Value>()
  const ownerOf = (base: Value): Value => owners.get(base) ?? base
  // A memory is free when its newest tenant is dead; older tenants died at the step that handed it over.
  const tenant = new Map<Value, Value>()

  /** Whether nothing of `from` is lost when the results `made` are stored where it lies. */
  const mayReplace = (from: Value, made: readonly Timed[]): boolean => {
    const written = writes.get(from) ?? []
    const read = reads.get(from) ?? []
    return made.every(
      (write) =>
        written.every((early) => early.step < write.step || !overlaps(early, write)) &&
        read.every(
          (access) =>
            access.step < write.step ||
            !overlaps(access, write) ||
            (access.step === write.step && access.elementwise && sameRange(access, write)),
        ),
    )
  }

  for (const [base, made] of writes) {
    const first = made[0]!
    const { rows, groups4 } = rowLayout(base.shape)
    for (const { base: from, elementwise } of steps[first.step]!.reads) {
      if (!elementwise || from === base || from.origin !== 'node' || kept.has(from)) continue
      const owner = ownerOf(from)
      if ((tenant.get(owner) ?? owner) !== from || from.kind !== base.kind) continue
      const layout = rowLayout(from.shape)
      if (layout.rows !== rows || layout.groups4 !== groups4 || !mayReplace(from, made)) continue
      owners.set(base, owner)
      tenant.set(owner, base)
      break
    }
  }
  return owners
}
