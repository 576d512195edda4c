// Time of a program as it runs in a picture: one pass a run, several runs queued.
import type { WebGpuSession } from './session.ts'

/** Milliseconds a run, of `repeats` queued at once; from the first encoding until the device is done. */
export async function timeRuns({ program }: WebGpuSession, repeats: number): Promise<number> {
  const { gpu } = program.device
  await program.prepare()
  const start = performance.now()
  for (let i = 0; i < repeats; i++) {
    const encoder = gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    program.encode(pass)
    pass.end()
    gpu.queue.submit([encoder.finish()])
  }
  await gpu.queue.onSubmittedWorkDone()
  program.device.assertAlive()
  return (performance.now() - start) / repeats
}
