// What is remembered for alike requests is what each of them would have chosen.
import { expect, it } from 'vitest'
import { gpuCapabilities, softwareCapabilities } from '../../test/gpu.ts'
import { plannedNodes } from '../../test/run-planned.ts'
import { Graph, type Value } from '../graph/graph.ts'
import { rankedChoices } from '../kernels/choose.ts'
import { conv2d } from '../ops/conv2d.ts'
import { groupNorm } from '../ops/group-norm.ts'
import { add, silu } from '../ops/pointwise.ts'
import { optimise } from '../passes/passes.ts'
import { sharedChoices } from './shared-choices.ts'

/** Residual blocks, most of them alike: operands that share a slot, and such that do not. */
function blocks(): Graph {
  const graph = new Graph('blocks')
  let x: Value = graph.input('x', [1, 8, 8, 16])
  for (let i = 0; i < 4; i++) {
    const g = graph.scope(`blocks.${i}`)
    const h = conv2d(
      g.scope('conv1'),
      silu(groupNorm(g.scope('norm'), x, { groups: 4, epsilon: i < 3 ? 1e-5 : 1e-6 })),
      16,
      {
        kernel: 3,
        padding: 1,
      },
    )
    x = add(conv2d(g.scope('conv2'), h, 16, { kernel: 3, padding: 1 }), i === 2 ? h : x)
  }
  graph.output('y', x)
  return optimise(graph)
}

it.each([
  ['a GPU', gpuCapabilities],
  ['a software adapter', softwareCapabilities],
])('gives every node its own choices on %s', (_, capabilities) => {
  const ranked = sharedChoices()
  const nodes = plannedNodes(blocks(), 'f16', capabilities)
  const distinct = new Set<unknown>()
  for (const { family, request } of nodes) {
    const [own, shared] = [rankedChoices(family, request), ranked(family, request)]
    distinct.add(shared)
    expect(shared.map(({ cost }) => cost)).toEqual(own.map(({ cost }) => cost))
    const { kernel, variant, params } = shared[0]!.choice()
    expect({ kernel, variant, params }).toEqual({
      kernel: own[0]!.choice().kernel,
      variant: own[0]!.choice().variant,
      params: own[0]!.choice().params,
    })
  }
  expect(distinct.size).toBeLessThan(nodes.length)
  expect(distinct.size).toBeGreaterThan(3)
})
