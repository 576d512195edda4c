// A graph through planGraph and Program on a WebGPU device, its kernel variant forced or chosen, and which one that was.
import type { Device } from '../src/device/device.ts'
import { openDevice } from '../src/device/node.ts'
import type { Graph } from '../src/graph/graph.ts'
import type { RefResult } from '../src/graph/op.ts'
import { type Choice, chooseVariant, tuningsFor } from '../src/kernels/choose.ts'
import type { Capabilities, Family, Request, Variant } from '../src/kernels/family.ts'
import { type Plan, planGraph } from '../src/plan/plan.ts'
import type { HostTensor, ParameterSource } from '../src/run/executor.ts'
import { capabilitiesOf } from '../src/run/webgpu/capabilities.ts'
import { loadPrograms } from '../src/run/webgpu/load-programs.ts'
import { WebGpuSession } from '../src/run/webgpu/session.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import type { QuantisedFormat } from '../src/tensor/quantise.ts'

const adapters = {
  swiftshader: { kind: 'software', adapter: 'swiftshader' },
  lavapipe: { kind: 'software', adapter: 'llvmpipe' },
  gpu: { kind: 'gpu' },
} as const

/** The WebGPU devices among PHOSPHENE_TEST_EXECUTORS; SwiftShader unless that is said. */
export async function webgpuDevices(): Promise<readonly { readonly name: string; readonly device: Device }[]> {
  const asked = (process.env.PHOSPHENE_TEST_EXECUTORS ?? 'swiftshader').split(',').map((name) => name.trim())
  const names = asked.filter((name): name is keyof typeof adapters => name in adapters)
  return Promise.all(names.map(async (name) => ({ name, device: await openDevice(adapters[name]) })))
}

/** The one node of a graph as kernel families see it. */
export interface PlannedNode {
  readonly family: Family<unknown>
  readonly request: Request<unknown>
}

/** What the plan asks of the kernel families, node by node. */
export function plannedNodes(
  graph: Graph,
  dtype: StorageDType,
  capabilities: Capabilities,
  weights?: QuantisedFormat,
): readonly PlannedNode[] {
  const nodes: PlannedNode[] = []
  planGraph(graph, {
    dtype,
    weights,
    capabilities,
    choose(family, request) {
      nodes.push({ family, request })
      return chooseVariant(family, request)
    },
  })
  return nodes
}

export interface UsableVariant extends Pick<Variant<unknown, unknown>, 'name' | 'tolerance'> {
  /** Its only tunings are for another kind of adapter. */
  readonly borrowed: boolean
}

/** The variants that take the node. */
export function variantsOf({ family, request }: PlannedNode): readonly UsableVariant[] {
  return family.variants
    .filter((variant) => tuningsFor(variant, request, true).some((params) => variant.supports(request, params)))
    .map((variant) => ({
      name: variant.name,
      tolerance: variant.tolerance,
      borrowed: tuningsFor(variant, request, false).length === 0,
    }))
}

export interface PlannedRun {
  readonly outputs: Readonly<Record<string, Float32Array>>
  readonly plan: Plan
  /** `op variant {params}` of each step. */
  readonly kernels: string
}

export interface RunOptions {
  readonly dtype: StorageDType
  readonly variant?: string | undefined
  /** In the place of a choice by cost. */
  readonly choose?: (request: Request<unknown>) => Choice
}

/** Loads the graph, runs it once and frees everything. `variant` is forced on every node. */
export async function runPlanned(
  device: Device,
  graph: Graph,
  source: ParameterSource,
  inputs: Readonly<Record<string, HostTensor>>,
  { dtype, variant, choose }: RunOptions,
): Promise<PlannedRun> {
  const kernels: string[] = []
  const plan = planGraph(graph, {
    dtype,
    capabilities: capabilitiesOf(device),
    choose(family, request) {
      const choice = choose?.(request) ?? chooseVariant(family, request, variant)
      kernels.push(`${family.op} ${choice.variant} ${JSON.stringify(choice.params)}`)
      return choice
    },
  })
  const { program } = await loadPrograms(device, { plan }, source, { dtype })
  const session = new WebGpuSession(plan, program)
  try {
    return { outputs: await session.run(inputs), plan, kernels: kernels.join(', ') }
  } finally {
    session.dispose()
  }
}

/** Below the smallest normal half, 2^-14, halves are 2^-24 apart whatever the value: a unit is no smaller than that. */
export function representable(want: RefResult, dtype: StorageDType): RefResult {
  return dtype === 'f32' ? want : { ...want, scale: want.scale.map((each) => Math.max(each, 2 ** -14)) }
}
