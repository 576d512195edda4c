// What measured times may change of a plan, and what not: without a device, with times that are made up.
import { expect, it } from 'vitest'
import { gpuCapabilities } from '../../test/gpu.ts'
import { smallGraphs } from '../../test/small-graphs.ts'
import { Graph } from '../graph/graph.ts'
import type { Candidate } from '../kernels/choose.ts'
import { conv2d } from '../ops/conv2d.ts'
import { optimise } from '../passes/passes.ts'
import { byMeasurement, candidateName } from './measured-choices.ts'
import { type ArenaPlan, type AskedKernel, type PlanOptions, planGraph } from './plan.ts'
import { type SharedChoices, sharedChoices } from './shared-choices.ts'

const planning = { dtype: 'f16', capabilities: { ...gpuCapabilities, matrixShapes: [] } } as const
const stepsOf = ({ steps, arenaBytes }: ArenaPlan) =>
  JSON.stringify([arenaBytes, steps.map(({ variant, dispatches }) => [variant, dispatches])])

it('nothing where nothing was measured: the same plan, however often, and asked about or not', () => {
  const graph = optimise(smallGraphs['unet 9×8, two branches']!())
  const estimated = sharedChoices()
  const asked: AskedKernel[] = []
  const plain = planGraph(graph, planning)
  const others: Partial<PlanOptions>[] = [
    {},
    { onRequests: (all) => void asked.push(...all) },
    { ranked: (family, request) => byMeasurement(estimated(family, request), new Map()) },
  ]
  for (const other of others) expect(stepsOf(planGraph(graph, { ...planning, ...other }))).toBe(stepsOf(plain))
  expect(asked.length).toBeGreaterThanOrEqual(plain.steps.length)
  for (const { roomBytes } of asked) expect(roomBytes).toBeGreaterThan(0)
})

function convolution(): Graph {
  const graph = new Graph('convolution')
  const x = graph.input('x', [1, 32, 32, 64])
  const h = conv2d(graph.scope('first'), x, 64, { kernel: 3, padding: 1 })
  graph.output('y', conv2d(graph.scope('second'), h, 64, { kernel: 3, padding: 1 }))
  return graph
}

const scratchOf = (candidate: Candidate) => candidate.scratch().reduce((sum, bytes) => sum + bytes, 0)

/** Every candidate measured, and the one that `prefers` says by far the fastest. */
function measured(prefers: (candidates: readonly Candidate[]) => Candidate): SharedChoices {
  const estimated = sharedChoices()
  const known = new WeakMap<readonly Candidate[], readonly Candidate[]>()
  return (family, request) => {
    const all = estimated(family, request)
    const times = new Map(all.map((each) => [candidateName(each), each === prefers(all) ? 1 : 1e6]))
    const ranked = known.get(all) ?? byMeasurement(all, times)
    known.set(all, ranked)
    return ranked
  }
}

const mostScratch = (candidates: readonly Candidate[]) =>
  candidates.reduce((most, each) => (scratchOf(each) > scratchOf(most) ? each : most))

it('the kernels, where there is room for their scratch; and not what fits', () => {
  const wanted: Candidate[] = []
  const ranked = measured((all) => {
    const most = mostScratch(all)
    wanted.push(most)
    return most
  })
  const free = planGraph(convolution(), { ...planning, ranked })
  expect(new Set(free.steps.map(({ variant }) => variant))).toEqual(new Set(wanted.map(({ variant }) => variant)))
  const arenaBytes = 32 * 32 * 64 * 2 * 2 + scratchOf(wanted[0]!) / 2
  const limited = planGraph(convolution(), { ...planning, ranked, arenaBytes })
  expect(limited.arenaBytes).toBeLessThanOrEqual(arenaBytes)
})

it('not the rule of fewest products where memory is limited, but which of equals is taken', () => {
  const macsOf = (plan: ArenaPlan) => plan.steps.reduce((sum, { macs }) => sum + macs, 0)
  const limit = { arenaBytes: 8e6 }
  const estimated = planGraph(convolution(), { ...planning, ...limit })
  const estimates = sharedChoices()
  const fewest = (all: readonly Candidate[]) => all.reduce((a, b) => ((b.macs ?? 1e99) < (a.macs ?? 1e99) ? b : a))
  // Of the kernels with as few products the last by estimate is said to be the fastest.
  const last = (all: readonly Candidate[]) => all.filter(({ macs }) => macs === fewest(all).macs).at(-1)!
  const tuned = planGraph(convolution(), { ...planning, ...limit, ranked: measured(last) })
  expect(macsOf(tuned)).toBeLessThanOrEqual(macsOf(estimated))
  const { family, request } = askedBy(convolution())
  const choice = last(estimates(family, request)).choice()
  expect(tuned.steps[0]!.dispatches.map(({ wgsl }) => wgsl)).toEqual(choice.kernel.dispatches.map(({ wgsl }) => wgsl))
})

function askedBy(graph: Graph): AskedKernel {
  const asked: AskedKernel[] = []
  planGraph(graph, { ...planning, onRequests: (all) => void asked.push(...all) })
  return asked[0]!
}
