// Weights stream, and kernels compile a few at a time: while SD 1.5's UNet is loaded onto the GPU, the host holds little beside it.
// SwiftShader's buffers are host memory, so they are counted out; its compiler and what it compiled are counted in. (lavapipe, which
// compiles when a kernel first runs, has less to hide here.)
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { openDevice } from '../../src/device/node.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import { openComponent } from '../../src/weights/folder.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { fullSizeCheckpoint } from './checkpoint.ts'

const markBytes = 300e6
const folder = await fullSizeCheckpoint()

it('loads the UNet in f16 with less than 300 MB beside its buffers', async () => {
  const device = await openDevice({ kind: 'software', adapter: 'swiftshader' })
  const executor = webgpuExecutor(device)
  const weights = await openComponent(nodeFolder(folder), 'unet')
  const file = `${folder}/unet/config.json`
  const config = parseUNetConfig(JSON.parse(await readFile(file, 'utf8')), file)
  const graph = optimise(unet2DCondition(config, { batch: 2, height: 64, width: 64, timesteps: 1 }))

  const { rss } = process.memoryUsage
  const idle = rss()
  let most = 0
  const watch = () => {
    most = Math.max(most, rss() - device.bufferBytes - idle)
  }
  const timer = setInterval(watch, 2)
  let uploaded = 0
  const session = await executor.load(graph, weights, {
    dtype: 'f16',
    // Right after a tensor was handed over: its copies on the host and in the driver are alive, and so is the next one.
    onProgress() {
      watch()
      uploaded = most
    },
  })
  watch()
  clearInterval(timer)
  await weights.close()
  console.log(
    `${device.description.name}: beside ${megabytes(device.bufferBytes)} of buffers at most ${megabytes(uploaded)} while weights came, ` +
      `${megabytes(most)} until all kernels were compiled (idle: ${megabytes(idle)})`,
  )
  expect(device.bufferBytes).toBe(session.weightBytes)
  session.dispose()
  expect(device.bufferBytes).toBe(0)
  await executor.dispose()
  expect(most).toBeLessThan(markBytes)
})

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
