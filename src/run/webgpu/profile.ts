// Time by kernel: every dispatch in a pass of its own between two timestamps. Slower than a run, in the right proportions.
import { PhospheneError } from '../../error.ts'
import { encodeCommands, readBuffer } from './program.ts'
import type { WebGpuSession } from './session.ts'

export interface KernelTime {
  /** Scope of the node in the model. */
  readonly scope: string
  readonly op: string
  readonly variant: string
  readonly label: string
  readonly shape: readonly number[]
  readonly milliseconds: number
  /** Multiply-adds of the node, on its first dispatch. */
  readonly macs: number
  /** Bytes of the node's operands, on its first dispatch. */
  readonly bytes: number
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
  const kernels = plan.steps.flatMap((step) =>
    step.dispatches.map((dispatch, i) => ({
      scope: step.node.scope,
      op: step.node.op.name,
      variant: step.variant,
      label: dispatch.label,
      shape: step.node.output.shape,
      macs: i === 0 ? step.macs : 0,
      bytes: i === 0 ? step.bytesMoved : 0,
    })),
  )
  const count = kernels.length * 2
  const queries = device.gpu.createQuerySet({ type: 'timestamp', count })
  const resolved = device.buffer('timestamps', count * 8, 0x200 | 0x04) // QUERY_RESOLVE | COPY_SRC
  try {
    const encoder = device.gpu.createCommandEncoder()
    program.commands.forEach((command, i) => {
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
      })
      encodeCommands(pass, [command])
      pass.end()
    })
    encoder.resolveQuerySet(queries, 0, count, resolved, 0)
    device.gpu.queue.submit([encoder.finish()])
    const times = new BigUint64Array(await readBuffer(device, { buffer: resolved, offset: 0, size: count * 8 }))
    return kernels.map((kernel, i) => ({
      ...kernel,
      milliseconds: Number(times[2 * i + 1]! - times[2 * i]!) / 1e6,
    }))
  } finally {
    queries.destroy()
    device.free(resolved)
  }
}
