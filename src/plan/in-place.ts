// Which results may overwrite an input that dies with them. A kernel loads an epilogue's operands, and a pointwise node its
// inputs, at the very element that it stores next (kernels/family.ts), so sharing that memory is safe.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { View } from './views.ts'

/** For each base value that takes over another's memory: the value that owns it. */
export function reuseInPlace(
  graph: Graph,
  steps: readonly Node[],
  views: ReadonlyMap<Value, View>,
): ReadonlyMap<Value, Value> {
  const owners = new Map<Value, Value>()
  const ownerOf = (value: Value): Value => {
    const { base } = views.get(value)!
    return owners.get(base) ?? base
  }
  const lastUse = new Map<Value, number>() // by base
  steps.forEach((node, step) => {
    for (const value of [...node.inputs, ...(node.epilogue?.inputs ?? [])]) lastUse.set(views.get(value)!.base, step)
  })
  for (const value of graph.outputs.values()) lastUse.set(views.get(value)!.base, steps.length)
  // A memory is free when its newest tenant is dead; older tenants died at the step that handed it over.
  const tenant = new Map<Value, Value>()

  steps.forEach((node, step) => {
    const elementwise =
      node.op.name === 'pointwise' ? [...node.inputs, ...(node.epilogue?.inputs ?? [])] : (node.epilogue?.inputs ?? [])
    const others = node.op.name === 'pointwise' ? [] : node.inputs
    const candidate = elementwise.find((value) => {
      const view = views.get(value)!
      const owner = ownerOf(value)
      return (
        owner.origin === 'node' &&
        String(value.shape) === String(node.output.shape) &&
        view.offset4 === 0 &&
        sameRows(value, view) &&
        (tenant.get(owner) ?? owner) === view.base &&
        lastUse.get(view.base) === step &&
        !others.some((other) => ownerOf(other) === owner) &&
        // Another part of the same memory would be read at other elements than those just stored.
        elementwise.every((other) => ownerOf(other) !== owner || sameElements(views.get(other)!, view))
      )
    })
    if (!candidate) return
    const owner = ownerOf(candidate)
    owners.set(node.output, owner)
    tenant.set(owner, node.output)
  })
  return owners
}

function sameElements(a: View, b: View): boolean {
  return a.base === b.base && a.offset4 === b.offset4 && a.stride4 === b.stride4
}

/** The value covers its base's rows fully: not a slice of wider rows. */
function sameRows(value: Value, view: View): boolean {
  return view.base.shape.at(-1) === value.shape.at(-1)
}
