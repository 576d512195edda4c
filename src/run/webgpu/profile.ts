// Time by kernel: every dispatch in a pass of its own between two timestamps. Slower than a run, in the right proportions.
import type { Device } from '../../device/device.ts'
import { PhospheneError } from '../../error.ts'
import type { KernelTime, Profiler } from '../profiler.ts'
import { measuredRates, publishedRates } from './device-rates.ts'
import { encodeCommands, readBuffer } from './program.ts'
import { WebGpuSession } from './session.ts'

/** Dispatches whose timestamps one query set holds (4096 entries by the specification). */
const dispatchesPerSet = 2048

/** The device's profiler; undefined where it has no timestamps. */
export function webgpuProfiler(device: Device): Profiler | undefined {
  if (!device.description.timestamps) return undefined
  return {
    kernels(session) {
      if (!(session instanceof WebGpuSession)) throw new TypeError('the model was loaded by another executor')
      return profileProgram(session)
    },
    rates: async (measured = false) =>
      (measured ? undefined : publishedRates(device.description)) ?? measuredRates(device),
  }
}

/** Runs the program once, kernel by kernel. Raises 'device/none' where the device has no timestamps. */
export async function profileProgram(session: WebGpuSession): Promise<KernelTime[]> {
  const { program, plan } = session
  const { device } = program
  if (!device.description.timestamps)
    throw new PhospheneError({
      code: 'device/none',
      message: `${device.description.name} has no timestamp-query`,
      fix: 'Profile on another adapter; `phosphene doctor` lists their features.',
    })
  const kernels = plan.steps.flatMap((step, index) =>
    step.dispatches.map((dispatch, i) => ({
      step: index,
      scope: step.node.scope,
      op: step.node.op.name,
      variant: step.variant,
      label: dispatch.label,
      shape: step.node.output.shape,
      macs: i === 0 ? step.macs : 0,
      bytes: i === 0 ? step.bytesMoved : 0,
    })),
  )
  await program.prepare()
  const sets: { readonly queries: GPUQuerySet; readonly resolved: GPUBuffer; readonly entries: number }[] = []
  try {
    const encoder = device.gpu.createCommandEncoder()
    for (let first = 0; first < kernels.length; first += dispatchesPerSet) {
      const commands = program.commands.slice(first, first + dispatchesPerSet)
      const entries = commands.length * 2
      const queries = device.gpu.createQuerySet({ type: 'timestamp', count: entries })
      const resolved = device.buffer('timestamps', entries * 8, 0x200 | 0x04) // QUERY_RESOLVE | COPY_SRC
      sets.push({ queries, resolved, entries })
      commands.forEach((command, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        })
        encodeCommands(pass, [command])
        pass.end()
      })
      encoder.resolveQuerySet(queries, 0, entries, resolved, 0)
    }
    device.gpu.queue.submit([encoder.finish()])
    const times: bigint[] = []
    for (const { resolved, entries } of sets)
      times.push(...new BigUint64Array(await readBuffer(device, { buffer: resolved, offset: 0, size: entries * 8 })))
    // A pass's first timestamp may be taken while the pass before it still computes: the kernel's time counts from that one's end.
    let done = times[0]!
    return kernels.map((kernel, i) => {
      const [begin, end] = [later(times[2 * i]!, done), later(times[2 * i + 1]!, done)]
      done = end
      return { ...kernel, startMs: Number(begin - times[0]!) / 1e6, milliseconds: Number(end - begin) / 1e6 }
    })
  } finally {
    for (const { queries, resolved } of sets) {
      queries.destroy()
      device.free(resolved)
    }
  }
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
