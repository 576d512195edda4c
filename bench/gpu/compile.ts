// How long a driver compiles a full-size UNet's kernels: on one device, as the engine does, or first spread over several devices of
// this process, whose compilations the driver's cache keeps. Dawn has two compiling threads for each device.
// Usage: compile.js <folder> [--devices 4] [--size 64]. For a cold cache of NVIDIA's driver, set __GL_SHADER_DISK_CACHE_PATH to an
// empty folder.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Device } from '../../src/device/device.ts'
import { openDevice } from '../../src/device/node.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimiseInParts } from '../../src/passes/passes.ts'
import { planGraph } from '../../src/plan/plan.ts'
import { capabilitiesOf } from '../../src/run/webgpu/capabilities.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    devices: { type: 'string', default: '1' },
    size: { type: 'string', default: '64' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
  },
})
const size = Number(values.size)
const open = () => openDevice({ kind: values.kind as 'gpu' | 'software', adapter: values.adapter })
const device = await open()
const file = `${positionals[0]!}/unet/config.json`
const config = parseUNetConfig(JSON.parse(readFileSync(file, 'utf8')), file)
const planning = performance.now()
const { graph, prelude } = optimiseInParts(
  unet2DCondition(config, { batch: 2, height: size, width: size, timesteps: 1 }),
  ['encoder_hidden_states'],
)
const plans = [graph, ...(prelude ? [prelude] : [])].map((part) =>
  planGraph(part, { dtype: 'f16', capabilities: capabilitiesOf(device) }),
)
const planMs = performance.now() - planning
const labels = new Map(
  plans.flatMap(({ steps }) =>
    steps.flatMap(({ dispatches }) => dispatches.map(({ wgsl, label }) => [wgsl, label] as const)),
  ),
)

/** Milliseconds, cores at work on average, and what the slowest kernels took from their turn to their end. */
async function compiled(on: readonly Device[]) {
  const start = performance.now()
  const cpu = process.cpuUsage()
  const each: { label: string; ms: number }[] = []
  await Promise.all(
    [...labels].map(async ([wgsl, label], i) => {
      await on[i % on.length]!.pipeline(wgsl, label)
      each.push({ label, ms: performance.now() - start })
    }),
  )
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  return { ms, cores: (user + system) / 1000 / ms, lastOnes: each.slice(-5) }
}

const count = Number(values.devices)
const opening = performance.now()
const others = await Promise.all(Array.from({ length: count > 1 ? count : 0 }, open))
const result = {
  adapter: device.description.name,
  kernels: labels.size,
  planMs,
  devices: count,
  openMs: performance.now() - opening,
  spread: count > 1 ? await compiled(others) : undefined,
  onOne: await compiled([device]),
}
console.log(JSON.stringify(result))
process.exit(0)
