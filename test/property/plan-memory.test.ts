// What a plan does to memory, executed with labels in place of numbers: each step finds what earlier steps were to leave it,
// wherever views, joins, results in place, the order of steps and the arena put it.
import { describe, expect, it } from 'vitest'
import type { Graph, Node, Value } from '../../src/graph/graph.ts'
import type { SliceAttrs } from '../../src/ops/attrs.ts'
import { copiedParts } from '../../src/plan/accesses.ts'
import { placeTensors } from '../../src/plan/arena.ts'
import { rowLayout, storageBytes } from '../../src/plan/layout.ts'
import { chooseMemory } from '../../src/plan/order.ts'
import { isJoin, operandsOf } from '../../src/plan/views.ts'
import { formsOf, smallGraphs } from '../small-graphs.ts'

/** Bytes of a group of four channels. */
const unit = 16

/** The result of a node, and the element of it, that element (row, group) of a value is. */
function origin(value: Value, row: number, group: number): string {
  const { node } = value
  if (!node || node.epilogue) return `${value.id} ${row} ${group}`
  const [x] = node.inputs as [Value]
  const rowsPerImageRow = (of: Value) => of.shape.slice(2, -1).reduce((a, b) => a * b, 1)
  switch (node.op.name) {
    case 'reshape':
      return origin(x, row, group)
    case 'slice': {
      const { start, end } = node.attrs as SliceAttrs
      const isView = start % 4 === 0 && (end % 4 === 0 || end === x.shape.at(-1))
      return isView ? origin(x, row, group + start / 4) : `${value.id} ${row} ${group}`
    }
    case 'sliceRows':
      return origin(x, row + (node.attrs as SliceAttrs).start * rowsPerImageRow(x), group)
    case 'joinRows': {
      let first = row
      for (const band of node.inputs) {
        const { rows } = rowLayout(band.shape)
        if (first < rows) return origin(band, first, group)
        first -= rows
      }
      throw new Error('beyond the last band')
    }
    case 'concat': {
      if (node.inputs.slice(0, -1).some(({ shape }) => shape.at(-1)! % 4 !== 0)) return `${value.id} ${row} ${group}`
      let first = group
      for (const part of node.inputs) {
        const { groups4 } = rowLayout(part.shape)
        if (first < groups4) return origin(part, row, first)
        first -= groups4
      }
      throw new Error('beyond the last channel')
    }
    default:
      return `${value.id} ${row} ${group}`
  }
}

/** Runs the plan of a graph's memory with labels. Returns how many elements were read. */
function simulate(graph: Graph): number {
  const bytesOf = (value: Value) => storageBytes(value.shape, value.kind === 'int' ? 'int' : 'f32')
  const memory = chooseMemory(graph, bytesOf)
  const owners = [...memory.lifetimes.keys()]
  const layout = placeTensors(
    owners.map((owner) => ({ sizeBytes: bytesOf(owner), ...memory.lifetimes.get(owner)! })),
    { alignment: 256, pageBytes: 2 ** 30 },
  )
  const start = new Map(owners.map((owner, i) => [owner, layout.offsets[i]! / unit]))
  const cells: string[] = []
  const place = (value: Value, row: number, group: number, offset4 = 0): number | undefined => {
    const view = memory.views.of.get(value)!
    const first = start.get(memory.ownerOf(value))
    return first === undefined ? undefined : first + view.offset4 + offset4 + row * view.stride4 + group
  }
  const each = (value: Value, visit: (row: number, group: number) => void) => {
    const { rows, groups4 } = rowLayout(value.shape)
    for (let row = 0; row < rows; row++) for (let group = 0; group < groups4; group++) visit(row, group)
  }
  let reads = 0
  const read = (value: Value, node: Node) =>
    each(value, (row, group) => {
      const at = place(value, row, group)
      if (at === undefined) return // an input or a weight
      reads++
      if (cells[at] !== origin(value, row, group))
        throw new Error(`${node.output.name} reads ${cells[at]} for ${value.name} ${row} ${group}`)
    })
  for (const node of memory.steps) {
    const copied = isJoin(node) ? copiedParts(node, memory.views) : []
    const isCopy = isJoin(node) && (node.op.name === 'joinRows' || copied.length < node.inputs.length)
    for (const value of isCopy ? copied.map((part) => part.value) : operandsOf(node)) read(value, node)
    if (isCopy) {
      const whole = memory.views.of.get(node.output)!
      const own = rowLayout(node.output.shape).groups4
      for (const { value, offset4 } of copied) {
        const at = Math.floor(offset4 / own) * whole.stride4 + (offset4 % own)
        each(value, (row, group) => {
          cells[place(node.output, row, group, at)!] = origin(value, row, group)
        })
      }
    } else
      each(node.output, (row, group) => {
        cells[place(node.output, row, group)!] = origin(node.output, row, group)
      })
  }
  for (const value of graph.outputs.values()) read(value, memory.steps.at(-1)!)
  return reads
}

describe.each(Object.entries(smallGraphs))('%s', (_, build) => {
  it('finds in memory what was put there', () => {
    const { plain, frugal } = formsOf(build)
    for (const { name, graph } of [{ name: 'undivided', graph: plain }, ...frugal])
      expect(simulate(graph), name).toBeGreaterThan(1000)
  })
})
