// How long each of several kernels takes for one request: in turns, so that a clock that drifts touches all, and by the median.
import type { Device } from '../../device/device.ts'
import { PhospheneError } from '../../error.ts'
import type { Choice } from '../../kernels/choose.ts'
import type { Request } from '../../kernels/family.ts'
import { throwIfAborted, unlessAborted } from '../aborted.ts'
import { kernelBuffers } from './kernel-buffers.ts'
import { type Command, encodeCommands, readBuffer } from './program.ts'

export interface TimeLimits {
  /** On `performance.now()`'s clock. */
  readonly deadline: number
  readonly signal?: AbortSignal | undefined
}

/** Of one measurement, where a kernel is shorter than that: much longer than the 0.1 ms to which browsers round their clocks. */
const enoughMs = 3
const mostRepeats = 100
/** For an idle GPU's clock to rise. */
const warmUpMs = 20
const rounds = { least: 3, most: 5 }
/** Times the fastest, at warm-up: no kernel that slow turns out to be the fastest. */
const hopeless = 2

/**
 * Nanoseconds of each, infinite for those that do not compile. Undefined where the time was over first, or the device has no memory
 * for it. Raises 'aborted' and 'device/lost'.
 */
export async function timeKernels(
  device: Device,
  request: Request<unknown>,
  choices: readonly Choice[],
  limits: TimeLimits,
): Promise<readonly number[] | undefined> {
  const pipelines = await unlessAborted(before(limits.deadline, compiled(device, choices)), limits.signal)
  if (!pipelines) return undefined
  const buffers = await kernelBuffers(device, request, choices).catch(noMemory)
  if (!buffers) return undefined
  const clock = clockOf(device)
  try {
    const commands = choices.map(
      (choice, i) =>
        pipelines[i] &&
        choice.kernel.dispatches.map(
          ({ wgsl, bindings, workgroups }, d): Command => ({
            pipeline: pipelines[i]![d]!,
            bindGroup: device.gpu.createBindGroup({
              layout: device.layout(wgsl),
              entries: bindings.map((role, binding) => ({
                binding,
                resource: { buffer: buffers.bound(choice, role) },
              })),
            }),
            workgroups,
          }),
        ),
    )
    return await inTurns(clock, commands, limits)
  } finally {
    clock.dispose()
    buffers.dispose()
  }
}

/** Has the driver begin with these, for a `timeKernels` to come. */
export function compileAhead(device: Device, choices: readonly Choice[]): void {
  compiled(device, choices).catch(() => {}) // told by whoever waits for it
}

/** The pipelines of each; undefined for what the driver refuses, since another kernel will do. */
function compiled(device: Device, choices: readonly Choice[]) {
  return Promise.all(
    choices.map(({ kernel }) =>
      Promise.all(kernel.dispatches.map(({ wgsl, label }) => device.pipeline(wgsl, label))).catch((error: unknown) => {
        if (error instanceof PhospheneError && error.code === 'device/shader') return undefined
        throw error
      }),
    ),
  )
}

function noMemory(error: unknown): undefined {
  const codes: readonly string[] = ['device/out-of-memory', 'plan/too-large']
  if (error instanceof PhospheneError && codes.includes(error.code)) return undefined
  throw error
}

async function inTurns(
  clock: Clock,
  kernels: readonly (readonly Command[] | undefined)[],
  { deadline, signal }: TimeLimits,
): Promise<readonly number[] | undefined> {
  const isOver = () => performance.now() > deadline
  const first = kernels.find((each) => each !== undefined)
  if (!first) return kernels.map(() => Number.POSITIVE_INFINITY)
  for (const end = Math.min(deadline, performance.now() + warmUpMs); performance.now() < end; ) {
    throwIfAborted(signal)
    await clock.milliseconds(first, 1)
  }
  const single: number[] = []
  for (const kernel of kernels) {
    throwIfAborted(signal)
    if (isOver()) return undefined
    single.push(kernel ? await clock.milliseconds(kernel, 1) : Number.POSITIVE_INFINITY)
  }
  const fastest = Math.min(...single)
  const times = single.map((ms): number[] => (ms <= hopeless * fastest ? [] : [ms]))
  for (let round = 0; round < rounds.most; round++) {
    if (isOver()) {
      if (round < rounds.least) return undefined
      break
    }
    for (const [i, kernel] of kernels.entries()) {
      throwIfAborted(signal)
      if (!kernel || single[i]! > hopeless * fastest) continue
      const repeats = Math.max(1, Math.min(mostRepeats, Math.round(enoughMs / single[i]!)))
      times[i]!.push(await clock.milliseconds(kernel, repeats))
    }
  }
  return times.map((each) => median(each) * 1e6)
}

interface Clock {
  /** Of one run, of `repeats` in one pass. */
  milliseconds(commands: readonly Command[], repeats: number): Promise<number>
  dispose(): void
}

/** The device's own clock where it has one, the host's elsewhere. */
function clockOf(device: Device): Clock {
  const queries = device.description.timestamps && device.gpu.createQuerySet({ type: 'timestamp', count: 2 })
  const resolved = queries ? device.buffer('timestamps', 16, 0x200 | 0x04) : undefined // QUERY_RESOLVE | COPY_SRC
  return {
    async milliseconds(commands, repeats) {
      const start = performance.now()
      const encoder = device.gpu.createCommandEncoder()
      const timestampWrites = queries && { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 }
      const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {})
      for (let i = 0; i < repeats; i++) encodeCommands(pass, commands)
      pass.end()
      if (queries) encoder.resolveQuerySet(queries, 0, 2, resolved!, 0)
      device.gpu.queue.submit([encoder.finish()])
      if (!resolved) {
        await device.gpu.queue.onSubmittedWorkDone()
        device.assertAlive()
        return (performance.now() - start) / repeats
      }
      const [from, to] = new BigUint64Array(await readBuffer(device, { buffer: resolved, offset: 0, size: 16 }))
      return Math.max(Number(to! - from!), 1) / 1e6 / repeats
    },
    dispose() {
      if (queries) queries.destroy()
      if (resolved) device.free(resolved)
    },
  }
}

/** What the promise gives, undefined where it gives nothing in time; it then goes on unheard. */
async function before<T>(deadline: number, promise: Promise<T>): Promise<T | undefined> {
  promise.catch(() => {})
  let timer: ReturnType<typeof setTimeout> | undefined
  const over = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), Math.max(0, deadline - performance.now()))
  })
  try {
    return await Promise.race([promise, over])
  } finally {
    clearTimeout(timer)
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
