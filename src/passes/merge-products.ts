// Linear layers that read the same value become one product with all their weights side by side, and slices of its result,
// which are views: q, k and v of a self-attention; every resnet's projection of the time; keys and values of all
// cross-attentions. One wide product fills a GPU where several narrow ones do not.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { MatmulAttrs } from '../ops/attrs.ts'
import { matmulOp } from '../ops/matmul.ts'
import { sliceOp } from '../ops/slice.ts'
import { heldValues, operandsOf } from './held.ts'
import { rewrite } from './rewrite.ts'

/** A merged weight must fit WebGPU's default binding of 128 MiB, in f32 as well. */
const maxElements = 2 ** 25

/** Results of so few rows may live as long as they like. */
const fewRows = 8

/** Slices begin at whole units of 128 bits of f16, which kernels on matrix units load at a time. */
const sliceAlignment = 8

/** @param held inputs of which results may be kept for later runs: products of those are merged however far apart their readers */
export function mergeSiblingProducts(graph: Graph, held: readonly string[] = []): Graph {
  const families = siblings(graph, heldValues(graph, held))
  const merged = new Map<Family, Value>()
  return rewrite(graph, (node, to) => {
    const family = families.get(node)
    if (!family) return undefined
    let all = merged.get(family)
    if (!all) {
      const { members, width } = family
      const stacked = (index: number, shape: readonly number[]) => {
        const names = members.map((each) => each.inputs[index]!.name)
        return to.graph.param(`${names[0]} and ${names.length - 1} more`, shape, names)
      }
      const inputs = [to.value(node.inputs[0]!), stacked(1, [width, node.inputs[1]!.shape[1]!])]
      if (node.inputs[2]) inputs.push(stacked(2, [width]))
      all = to.graph.add(matmulOp, inputs, node.attrs as MatmulAttrs, sharedScope(members))
      merged.set(family, all)
    }
    const start = family.start.get(node)!
    return to.graph.add(sliceOp, [all], { start, end: start + node.output.shape.at(-1)! }, node.scope)
  })
}

/** Products that become one. */
interface Family {
  readonly members: readonly Node[]
  /** Features of all of them. */
  readonly width: number
  /** First feature of each. */
  readonly start: ReadonlyMap<Node, number>
}

function siblings(graph: Graph, held: ReadonlySet<Value>): ReadonlyMap<Node, Family> {
  const readers = readersOf(graph)
  const groups = new Map<string, Node[]>()
  for (const node of graph.nodes) {
    if (!canMerge(node, readers)) continue
    const [a, , bias] = node.inputs as [Value, Value, Value?]
    const rows = a.shape.slice(0, -1).reduce((product, size) => product * size, 1)
    // A merged result lives until its last reader, so of long ones only those are merged that one node reads.
    const together = held.has(a) || rows <= fewRows ? 'all' : readerOf(node.output, readers)?.id
    if (together === undefined) continue
    const key = `${a.id} ${bias !== undefined} ${together}`
    groups.set(key, [...(groups.get(key) ?? []), node])
  }
  const families = new Map<Node, Family>()
  for (const members of [...groups.values()].flatMap(inBindings)) {
    if (members.length < 2) continue
    const start = new Map<Node, number>()
    let width = 0
    for (const node of members) {
      start.set(node, width)
      width += node.output.shape.at(-1)!
    }
    const family = { members, width, start }
    for (const node of members) families.set(node, family)
  }
  return families
}

type Readers = ReadonlyMap<Value, readonly Node[]>

function readersOf(graph: Graph): Readers {
  const readers = new Map<Value, Node[]>()
  for (const node of graph.nodes)
    for (const value of new Set(operandsOf(node))) readers.set(value, [...(readers.get(value) ?? []), node])
  return readers
}

/** A linear layer with weights of its own, whose result no pointwise node will want to join. */
function canMerge({ op, attrs, inputs, epilogue, output }: Node, readers: Readers): boolean {
  if (op.name !== 'matmul' || epilogue) return false
  const { transposeA, transposeB, gate } = attrs as MatmulAttrs
  const [, ...weights] = inputs
  const own = weights.every((each) => each.origin === 'param' && !each.parts && readers.get(each)?.length === 1)
  const fuses = readers.get(output)?.some((reader) => reader.op.name === 'pointwise') ?? false
  const aligned = output.shape.at(-1)! % sliceAlignment === 0
  return transposeB && !transposeA && !gate && own && inputs[1]!.shape.length === 2 && aligned && !fuses
}

/** The only node that reads the value, through views or not. */
function readerOf(value: Value, readers: Readers): Node | undefined {
  const [reader, ...others] = readers.get(value) ?? []
  if (!reader || others.length > 0) return undefined
  return reader.op.name === 'reshape' ? readerOf(reader.output, readers) : reader
}

/** The members in order, cut where their weight would outgrow a binding. */
function inBindings(members: readonly Node[]): readonly (readonly Node[])[] {
  const groups: Node[][] = []
  let room = 0
  for (const node of members) {
    const [features, length] = node.inputs[1]!.shape as [number, number]
    if (features * length > room || groups.length === 0) {
      groups.push([])
      room = maxElements
    }
    groups.at(-1)!.push(node)
    room -= features * length
  }
  return groups
}

/** What the members' paths begin with, and their last names where these are few: `attn1.to_q+to_k+to_v`. */
function sharedScope(members: readonly Node[]): string {
  const paths = members.map(({ scope }) => scope.split('.'))
  const first = paths[0]!
  let depth = 0
  while (depth < first.length - 1 && paths.every((path) => path[depth] === first[depth])) depth++
  const rest = paths.map((path) => path.slice(depth).join('.'))
  const named = rest.length <= 3 ? rest.join('+') : `${rest[0]}+${rest.length - 1}`
  return [...first.slice(0, depth), named].join('.')
}
