// Time estimates of products and convolutions from what an invocation does, fitted to measurements.
import type { Capabilities } from '../family.ts'

export interface Work {
  readonly workgroups: number
  /** Invocations of a workgroup. */
  readonly invocations: number
  /** Turns of an invocation's innermost loop. */
  readonly steps: number
  /** Loads of vec4 in a step. */
  readonly loads: number
  /** Multiply-adds of vec4 in a step. */
  readonly products: number
  /** Whether the loads are from workgroup memory, filled between barriers. */
  readonly staged: boolean
  /** A tile: TFLOP/s of a busy H100, bytes of workgroup memory, sums (f32) of an invocation. */
  readonly tile?: { readonly rate: number; readonly bytes: number; readonly sums: number }
}

/** Nanoseconds, roughly; right in comparison rather than in absolute terms. */
export function estimate(kind: Capabilities['kind'], work: Work): number {
  if (kind === 'software') return software(work)
  return work.tile ? tiles(work, work.tile) : gpu(work)
}

/**
 * SwiftShader on two cores: a load of vec4 costs 11.5 ns of one core (a gather of each component), a multiply-add 1.7. Fitted
 * to 512³ with five tiles (8×2, 8×4, 4×4, 4×2, 4×1: within 8 %), and right for 3×3 convolutions within 10 %.
 */
function software({ workgroups, invocations, steps, loads, products, staged }: Work): number {
  const step = loads * 11.5 + products * 1.7
  return (workgroups * invocations * steps * step * (staged ? 3 : 1)) / Math.min(2, workgroups)
}

/** Of a large GPU: 128 multiprocessors of 128 lanes at 1.7 GHz. */
const gpuModel = { units: 128, clock: 0.59 }

/**
 * A multiprocessor's workgroups take turns, so their arithmetic adds up (half the peak at best: 29 TFLOP/s of 57 measured for a
 * staged 64×64 tile on an H200, 24 unstaged), while waiting for memory overlaps: the longer of the two counts.
 */
function gpu({ workgroups, invocations, steps, loads, products, staged }: Work): number {
  const turns = Math.ceil(workgroups / gpuModel.units)
  const lanes = Math.max(32, invocations)
  const cycles = (products / 32) * 2 + (loads / 8) * (staged ? 0.5 : 1)
  const busy = turns * lanes * steps * cycles
  const waiting = steps * (staged ? 150 : 250)
  return Math.max(busy, waiting) * gpuModel.clock + 3000
}

export const multiprocessors = 132
const [workgroupMemory, registers, subgroups, workgroupsAtMost] = [200 * 1024, 65536, 64, 32]

/**
 * Nanoseconds on an H100 of workgroups that take `alone` each where a multiprocessor is kept busy, `resident` of them at a time:
 * full waves, and a last one that leaves multiprocessors idle, where fewer workgroups hide less of each other's waiting.
 */
export function inWaves({
  workgroups,
  resident,
  alone,
}: Readonly<Record<'workgroups' | 'resident' | 'alone', number>>) {
  const perWave = multiprocessors * resident
  const full = Math.floor(workgroups / perWave)
  const rest = Math.ceil((workgroups % perWave) / multiprocessors)
  const last = rest === 0 ? 0 : rest * alone * (resident / rest) ** 0.45
  return 3000 + full * resident * alone + last
}

/** Nanoseconds that partial sums cost: a dispatch more, and memory written and read. */
export function sumNs(splits: number, bytes: number): number {
  return splits === 1 ? 0 : 5000 + (bytes * (splits + 1)) / splits / 2000
}

/** Workgroups with tiles in workgroup memory, next to one another on a multiprocessor as registers and memory allow. */
function tiles(
  { workgroups, invocations, steps, products }: Work,
  { rate, bytes, sums }: NonNullable<Work['tile']>,
): number {
  const held = Math.ceil(invocations / 32) * 32
  const resident = Math.min(
    Math.floor(workgroupMemory / (bytes + 1024)),
    Math.floor(registers / (held * Math.min(255, sums + 56))),
    Math.floor((subgroups * 32) / held),
    workgroupsAtMost,
  )
  const flops = 8 * products * steps * invocations
  return inWaves({ workgroups, resident: Math.max(1, resident), alone: flops / ((rate * 1000) / multiprocessors) })
}
