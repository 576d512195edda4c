// Every kernel of a model's components timed on its own: by what they compute, or by layer. Node only.
import { PhospheneError } from '../error.ts'
import type { TuningOptions } from '../pipeline/tune-options.ts'
import { throwIfAborted } from '../run/aborted.ts'
import type { DeviceRates, KernelTime, Profiler } from '../run/profiler.ts'
import { grouped, type NodeTime, nodeTimes, type Rating, rate } from '../run/roofline.ts'
import { webgpuProfiler } from '../run/webgpu/profile.ts'
import type { WebGpuSession } from '../run/webgpu/session.ts'
import { timeRuns } from '../run/webgpu/time-runs.ts'
import { type Bench, type BenchHead, type BenchOptions, openBench } from './bench-device.ts'
import { layerOf, readableDepth } from './layers.ts'
import { type Summary, summarise } from './statistics.ts'

export interface KernelBenchOptions extends BenchOptions, TuningOptions {
  /** Folders of the components to measure; all by default. */
  readonly only?: readonly string[] | undefined
  /** Profiles taken; each kernel's time is its median. */
  readonly rounds?: number | undefined
  /** Limits measured here even where the maker's are known. */
  readonly measuredLimits?: boolean | undefined
}

export interface ComponentKernels {
  readonly component: string
  /** A run in one pass, as in a picture. */
  readonly runMs: Summary
  /** Sum of the kernels, each in a pass of its own. */
  readonly kernelMs: number
  readonly macs: number
  readonly bytesMoved: number
  readonly dispatches: number
  readonly arenaBytes: number
  readonly nodes: readonly NodeTime[]
}

export interface KernelBench extends BenchHead {
  readonly rates: DeviceRates
  readonly components: readonly ComponentKernels[]
}

/** Nodes of one kind together. */
export interface KernelRow extends Rating {
  readonly name: string
  readonly nodes: number
  readonly dispatches: number
  readonly milliseconds: number
  /** Of the component's kernels. */
  readonly shareOfTime: number
  readonly macs: number
  readonly bytes: number
}

/** Raises what `openBench` and loading raise, 'device/none' for an adapter without timestamps, 'options/invalid' for `only`. */
export async function benchKernels(options: KernelBenchOptions): Promise<KernelBench> {
  const { only, rounds = 3, signal, onProgress = () => {} } = options
  const bench = await openBench(options, options)
  try {
    const profiler = profilerOf(bench)
    const wanted = chosen(bench, only)
    const rates = await profiler.rates(options.measuredLimits)
    const components: ComponentKernels[] = []
    for (const component of wanted) {
      throwIfAborted(signal)
      onProgress(`${component.folder}: loading`)
      const session = await bench.load(component)
      onProgress(`${component.folder}: ${rounds} rounds`)
      components.push(await measure(component.folder, session, profiler, rounds, signal))
      session.dispose()
      await bench.device.settle()
    }
    return { ...bench.head, rates, components }
  } finally {
    bench.device.destroy()
  }
}

function profilerOf({ device }: Bench): Profiler {
  const profiler = webgpuProfiler(device)
  if (profiler) return profiler
  throw new PhospheneError({
    code: 'device/none',
    message: `${device.description.name} has no timestamp-query, without which kernels cannot be timed`,
    fix: 'Choose another adapter; `phosphene doctor` lists their features. `phosphene bench picture` needs no timestamps.',
  })
}

function chosen({ components }: Bench, only: KernelBenchOptions['only']): Bench['components'] {
  const folders = components.map(({ folder }) => folder as string)
  const unknown = only?.find((name) => !folders.includes(name))
  if (unknown === undefined) return components.filter(({ folder }) => !only || only.includes(folder))
  throw new PhospheneError({
    code: 'options/invalid',
    message: `this model has no component ${JSON.stringify(unknown)}`,
    fix: `Use some of: ${folders.join(', ')}.`,
  })
}

async function measure(
  component: string,
  session: WebGpuSession,
  profiler: Profiler,
  rounds: number,
  signal: AbortSignal | undefined,
): Promise<ComponentKernels> {
  const { plan } = session
  // The first run also warms the clock of an idle GPU.
  const repeats = Math.max(1, Math.min(20, Math.ceil(200 / (await timeRuns(session, 1)))))
  const runs: number[] = []
  const profiles: (readonly KernelTime[])[] = []
  for (let round = 0; round < rounds; round++) {
    throwIfAborted(signal)
    runs.push(await timeRuns(session, repeats))
    profiles.push(await profiler.kernels(session))
  }
  const kernels = profiles[0]!.map((kernel, i) => ({
    ...kernel,
    milliseconds: summarise(profiles.map((profile) => profile[i]!.milliseconds)).median,
  }))
  const nodes = nodeTimes(kernels)
  const sum = (of: (node: NodeTime) => number) => nodes.reduce((total, node) => total + of(node), 0)
  return {
    component,
    runMs: summarise(runs),
    kernelMs: sum((node) => node.milliseconds),
    macs: sum((node) => node.macs),
    bytesMoved: sum((node) => node.bytes),
    dispatches: kernels.length,
    arenaBytes: plan.arenaBytes,
    nodes,
  }
}

/** Nodes that compute the same thing in the same way: op, variant, shape of the result, multiply-adds. Costliest first. */
export function rowsByKernel(component: ComponentKernels, rates: DeviceRates): KernelRow[] {
  const key = ({ op, variant, shape, macs }: NodeTime) =>
    `${op} ${variant} → [${shape}]${macs > 0 ? ` ${count(macs)} macs` : ''}`
  return rows(component, rates, key).sort((a, b) => b.milliseconds - a.milliseconds)
}

/**
 * Nodes by layer, in the order of the first of each.
 * @param depth modules of the scope that make a layer, see `layerOf`; chosen by the number of layers unless given
 */
export function rowsByLayer(component: ComponentKernels, rates: DeviceRates, depth?: number): KernelRow[] {
  const { nodes } = component
  const used = depth ?? readableDepth(nodes.map((node) => node.scope))
  return rows(component, rates, ({ scope }) => layerOf(scope, used))
}

function rows(component: ComponentKernels, rates: DeviceRates, key: (node: NodeTime) => string): KernelRow[] {
  const groups = grouped(component.nodes, key)
  return [...groups].map(([name, nodes]) => {
    const sum = (of: (node: NodeTime) => number) => nodes.reduce((total, node) => total + of(node), 0)
    const milliseconds = sum((node) => node.milliseconds)
    return {
      name,
      nodes: nodes.length,
      dispatches: sum((node) => node.kernels.length),
      milliseconds,
      shareOfTime: milliseconds / component.kernelMs,
      macs: sum((node) => node.macs),
      bytes: sum((node) => node.bytes),
      ...rate(nodes, rates),
    }
  })
}

function count(macs: number): string {
  return macs >= 1e9 ? `${(macs / 1e9).toFixed(2)} G` : `${(macs / 1e6).toFixed(2)} M`
}
