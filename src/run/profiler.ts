// What an executor that can time its kernels offers, for people and browsers alike: plain numbers, no WebGPU types.
import type { Session } from './executor.ts'

/** One dispatch of a run. */
export interface KernelTime {
  /** Place of its node in the plan's steps: dispatches with the same number belong to one node. */
  readonly step: number
  /** Scope of the node in the model. */
  readonly scope: string
  readonly op: string
  readonly variant: string
  readonly label: string
  readonly shape: readonly number[]
  /** Since the first dispatch of the run began. */
  readonly startMs: number
  readonly milliseconds: number
  /** Multiply-adds of the node, on its first dispatch; 0 on the others. */
  readonly macs: number
  /** Bytes of the node's operands and result, each once, on its first dispatch; 0 on the others. */
  readonly bytes: number
}

/** What a device can do at most. A multiply-add counts as two operations. */
export interface DeviceRates {
  readonly bytesPerSecond: number
  /** f32, without matrix units. */
  readonly vectorOperationsPerSecond: number
  /** f16 products with f32 sums; undefined where WebGPU offers no matrix units that the kernels use. */
  readonly matrixOperationsPerSecond: number | undefined
  /** The maker's figures for this adapter, or what a short test reached on it. */
  readonly source: 'published' | 'measured'
}

export interface Profiler {
  /** Runs the session's graph once, kernel by kernel, on whatever its inputs hold. Slower than a run, in the right proportions. */
  kernels(session: Session): Promise<readonly KernelTime[]>
  /** @param measured true: measured even where the adapter's figures are known. */
  rates(measured?: boolean): Promise<DeviceRates>
}
