// Graphs that need less memory compute the same: every form of small models in f64, odd sizes among them.
import { describe, expect, it } from 'vitest'
import { checkGraph } from '../src/graph/check.ts'
import type { Graph } from '../src/graph/graph.ts'
import type { Conv2dAttrs } from '../src/ops/attrs.ts'
import { bandSchedules } from '../src/passes/band-schedules.ts'
import { optimiseInParts } from '../src/passes/passes.ts'
import { divideRows } from '../src/passes/row-bands.ts'
import { evaluate } from '../src/run/reference/evaluate.ts'
import { formsOf, smallGraphs, valuesFor } from './small-graphs.ts'

function results(graph: Graph): ReadonlyMap<string, { readonly data: Float64Array }> {
  const inputs = Object.fromEntries([...graph.inputs].map(([name, value]) => [name, valuesFor(value)]))
  const params = new Map([...graph.params].map(([name, value]) => [name, valuesFor(value)]))
  return evaluate(graph, inputs, params)
}

const macsOf = ({ nodes }: Graph) =>
  nodes.reduce((sum, { op, inputs, attrs, output }) => sum + op.cost(inputs, attrs as never, output).macs, 0)

describe.each(Object.entries(smallGraphs))('%s', (_, build) => {
  it('gives the same in every form', () => {
    const { plain, frugal, onLoad } = formsOf(build)
    const want = results(plain)
    expect(frugal.length).toBeGreaterThan(2)
    for (const { name, graph } of [...frugal, ...onLoad]) {
      checkGraph(graph, name)
      for (const [output, { data }] of results(graph)) {
        const expected = want.get(output)!.data
        const off = data.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0)
        expect(off, `${name}, ${output}`).toBeLessThan(1e-12)
      }
    }
  })

  it('costs at least as many products', () => {
    const { plain, frugal } = formsOf(build)
    for (const { name, graph } of frugal) expect(macsOf(graph), name).toBeGreaterThanOrEqual(macsOf(plain))
  })
})

it('normalises on load all that the small UNets normalise by rows', () => {
  for (const [name, build] of Object.entries(smallGraphs)) {
    const { onLoad } = formsOf(build)
    expect(onLoad).toHaveLength(name.startsWith('unet') ? 2 : 0)
    for (const { graph } of onLoad) {
      expect(graph.nodes.filter(({ op }) => op.name === 'layerNorm')).toEqual([])
      const convolutions = graph.nodes.filter(
        ({ op, attrs }) => op.name === 'conv2d' && (attrs as Conv2dAttrs).normalised,
      )
      expect(convolutions.length).toBeGreaterThan(5)
    }
  }
})

it('computes no row of a band twice in a pass: the products are those that the schedule tells', () => {
  const { unfused } = optimiseInParts(smallGraphs['decoder 7×5']!(), [])
  const schedules = bandSchedules(unfused)
  expect(schedules.length).toBeGreaterThan(3)
  for (const schedule of schedules)
    for (const rows of [4, 8]) expect(macsOf(divideRows(unfused, { ...schedule, rows }))).toBe(schedule.macs)
})
