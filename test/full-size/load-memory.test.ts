// Weights stream: while SD 1.5's UNet goes to the GPU, the host holds little beside it. A software adapter's buffers are host
// memory, so they are counted out. Its compiler, which would take 300 to 400 MB for this UNet, does not run here: what is
// measured is the upload alone.
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { openDevice } from '../../src/device/node.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import { planGraph } from '../../src/plan/plan.ts'
import { capabilitiesOf } from '../../src/run/webgpu/capabilities.ts'
import { uploadWeights } from '../../src/run/webgpu/upload.ts'
import { openComponent } from '../../src/weights/folder.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { fullSizeCheckpoint } from './checkpoint.ts'

const markBytes = 300e6

it('loads the UNet in f16 with less than 300 MB beside its buffers', async () => {
  const folder = await fullSizeCheckpoint()
  const device = await openDevice({ kind: 'software' })
  const weights = await openComponent(nodeFolder(folder), 'unet')
  const file = `${folder}/unet/config.json`
  const config = parseUNetConfig(JSON.parse(await readFile(file, 'utf8')), file)
  const graph = optimise(unet2DCondition(config, { batch: 1, height: 64, width: 64, timesteps: 1 }))

  const { rss } = process.memoryUsage
  const idle = rss()
  let most = 0
  const plan = planGraph(graph, { dtype: 'f16', capabilities: capabilitiesOf(device) })
  const buffers = await uploadWeights(device, plan, weights, {
    dtype: 'f16',
    // Right after a tensor was handed over: its copies on the host and in the driver are alive, and so is the next one.
    onProgress() {
      most = Math.max(most, rss() - device.bufferBytes - idle)
    },
  })
  await weights.close()
  const live = device.bufferBytes
  const peak = process.resourceUsage().maxRSS * 1024 - live - idle
  console.log(
    `${device.description.name}: ${megabytes(live)} of weights; beside them at most ${megabytes(most)} after a tensor, ` +
      `${megabytes(peak)} at the process' peak (idle: ${megabytes(idle)})`,
  )
  expect(live).toBe(plan.weightBytes)
  for (const buffer of buffers) device.free(buffer)
  expect(device.bufferBytes).toBe(0)
  device.destroy()
  expect(Math.max(most, peak)).toBeLessThan(markBytes)
})

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
