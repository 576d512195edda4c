// Weights stream: while SD 1.5's UNet goes to the GPU, the host holds little beside it. A software adapter's buffers are host
// memory, so they are counted out. So is what its compiler keeps (300 to 400 MB for this UNet): the kernels are compiled before.
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { openDevice } from '../../src/device/node.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import { planGraph } from '../../src/plan/plan.ts'
import { capabilitiesOf } from '../../src/run/webgpu/capabilities.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import { Program } from '../../src/run/webgpu/program.ts'
import { openComponent } from '../../src/weights/folder.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { fullSizeCheckpoint } from './checkpoint.ts'

const markBytes = 300e6

it('loads the UNet in f16 with less than 300 MB beside its buffers', async () => {
  const folder = await fullSizeCheckpoint()
  const device = await openDevice({ kind: 'software' })
  const executor = webgpuExecutor(device)
  const weights = await openComponent(nodeFolder(folder), 'unet')
  const file = `${folder}/unet/config.json`
  const config = parseUNetConfig(JSON.parse(await readFile(file, 'utf8')), file)
  const graph = optimise(unet2DCondition(config, { batch: 1, height: 64, width: 64, timesteps: 1 }))

  const { rss } = process.memoryUsage
  const bare = rss()
  await Program.pipelines(device, planGraph(graph, { dtype: 'f16', capabilities: capabilitiesOf(device) }))
  const idle = rss()
  let most = 0
  let doneBytes = 0
  const session = await executor.load(graph, weights, {
    dtype: 'f16',
    // Right after a tensor was handed over: its copies on the host and in the driver are alive, and so is the next one.
    onProgress(done) {
      most = Math.max(most, rss() - device.bufferBytes - idle)
      doneBytes = done
    },
  })
  await weights.close()
  // The arena is left out: nothing has touched it yet, so that it is no part of the process' memory.
  const peak = process.resourceUsage().maxRSS * 1024 - session.weightBytes - idle
  console.log(
    `${device.description.name}: ${megabytes(doneBytes)} of weights; beside them at most ${megabytes(most)} after a tensor, ` +
      `${megabytes(peak)} at the process' peak (idle: ${megabytes(bare)}, with compiled kernels ${megabytes(idle)})`,
  )
  expect(doneBytes).toBe(session.weightBytes)
  session.dispose()
  expect(device.bufferBytes).toBe(0)
  await executor.dispose()
  expect(Math.max(most, peak)).toBeLessThan(markBytes)
})

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
