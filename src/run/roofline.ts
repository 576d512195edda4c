// Kernel times by node, held against what the device allows: the larger of operations over their rate and bytes over the
// bandwidth (Williams et al. 2009, "Roofline").
import type { DeviceRates, KernelTime } from './profiler.ts'

/** A node of the graph with all its dispatches. */
export interface NodeTime {
  readonly scope: string
  readonly op: string
  readonly variant: string
  readonly shape: readonly number[]
  readonly startMs: number
  /** Until its last dispatch ended. */
  readonly endMs: number
  /** Sum of its dispatches. */
  readonly milliseconds: number
  readonly macs: number
  readonly bytes: number
  readonly kernels: readonly KernelTime[]
}

/** What `Work` was done at, and what would be the most. */
export interface Rating {
  readonly teraflops: number
  readonly gigabytesPerSecond: number
  /** Least milliseconds on this device, and what they are spent on. */
  readonly limitMs: number
  readonly limitedBy: 'operations' | 'bytes'
  /** limitMs over the time taken: 1 cannot be beaten, but by caches that keep operands from the memory. */
  readonly share: number
}

/** Things by a key of theirs, in the order of each key's first. */
export function grouped<T, K>(things: readonly T[], key: (thing: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const thing of things) {
    const group = groups.get(key(thing))
    if (group) group.push(thing)
    else groups.set(key(thing), [thing])
  }
  return groups
}

/** Dispatches grouped by node, in their order. */
export function nodeTimes(kernels: readonly KernelTime[]): NodeTime[] {
  return [...grouped(kernels, (kernel) => kernel.step).values()].map((group) => {
    const [first] = group as [KernelTime, ...KernelTime[]]
    const { scope, op, variant, shape, startMs } = first
    const sum = (of: (kernel: KernelTime) => number) => group.reduce((total, kernel) => total + of(kernel), 0)
    return {
      ...{ scope, op, variant, shape, startMs },
      endMs: Math.max(...group.map((kernel) => kernel.startMs + kernel.milliseconds)),
      milliseconds: sum((kernel) => kernel.milliseconds),
      macs: sum((kernel) => kernel.macs),
      bytes: sum((kernel) => kernel.bytes),
      kernels: group,
    }
  })
}

/** The least time that a node's work takes: operations at the rate of the unit that its variant uses. */
export function limitOf(
  { variant, macs, bytes }: Pick<NodeTime, 'variant' | 'macs' | 'bytes'>,
  rates: DeviceRates,
): Pick<Rating, 'limitMs' | 'limitedBy'> {
  const onMatrixUnits = /matrix/.test(variant)
  const rate = (onMatrixUnits && rates.matrixOperationsPerSecond) || rates.vectorOperationsPerSecond
  const [operationsMs, bytesMs] = [(2000 * macs) / rate, (1000 * bytes) / rates.bytesPerSecond]
  return operationsMs > bytesMs
    ? { limitMs: operationsMs, limitedBy: 'operations' }
    : { limitMs: bytesMs, limitedBy: 'bytes' }
}

/** Rates of several nodes together: their work and limits summed up. */
export function rate(nodes: readonly NodeTime[], rates: DeviceRates): Rating {
  const limits = nodes.map((node) => limitOf(node, rates))
  const sum = (of: (node: NodeTime) => number) => nodes.reduce((total, node) => total + of(node), 0)
  const milliseconds = sum((node) => node.milliseconds)
  const limitMs = limits.reduce((total, limit) => total + limit.limitMs, 0)
  const byOperations = limits.reduce((t, { limitMs: ms, limitedBy }) => t + (limitedBy === 'operations' ? ms : 0), 0)
  return {
    teraflops: sum((node) => node.macs) / milliseconds / 5e8,
    gigabytesPerSecond: sum((node) => node.bytes) / milliseconds / 1e6,
    limitMs,
    limitedBy: 2 * byOperations > limitMs ? 'operations' : 'bytes',
    share: limitMs / milliseconds,
  }
}
