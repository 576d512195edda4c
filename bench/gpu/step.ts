// One model's denoising on a GPU: load time, milliseconds a guided step, milliseconds by kernel. Full-size weights are
// written by tools/make-full-size. Usage: step.js <folder> [--browser] [--profile FILE] [--variants op=name,...] [--norms-on-load]
// [--json FILE]
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { autoencoderKLDecoder, parseAutoencoderKLConfig } from '../../src/models/autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig } from '../../src/models/clip-text.ts'
import { timestepInput, unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimised } from '../../src/pipeline/memory-limit.ts'
import type { KernelTime } from '../../src/run/profiler.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import { profileProgram } from '../../src/run/webgpu/profile.ts'
import type { WebGpuSession } from '../../src/run/webgpu/session.ts'
import { openComponent } from '../../src/weights/folder.ts'
import type { Component } from '../../src/weights/model-files.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    profile: { type: 'string' },
    json: { type: 'string' },
    variants: { type: 'string' },
    'norms-on-load': { type: 'boolean', default: false },
    size: { type: 'string', default: '64' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
    only: { type: 'string', default: 'text,unet,vae' },
  },
})
const folder = positionals[0]!
const files = nodeFolder(folder)
const size = Number(values.size)
const config = (part: string): unknown => JSON.parse(readFileSync(`${folder}/${part}/config.json`, 'utf8'))
const variants = Object.fromEntries(
  (values.variants ?? '')
    .split(',')
    .filter(Boolean)
    .map((v) => v.split('=') as [string, string]),
)

const started = performance.now()
const device = await openDevice({
  kind: values.kind as 'gpu' | 'software',
  adapter: values.adapter,
  browserLike: values.browser,
})
const executor = webgpuExecutor(device, { variants })
console.log(`${device.description.name}: opened in ${(performance.now() - started).toFixed(0)} ms`)

const unetConfig = parseUNetConfig(config('unet'), 'unet/config.json')
const clipConfig = parseClipTextConfig(config('text_encoder'), 'text_encoder/config.json')
const graphs = {
  text: () => clipText(clipConfig, { batch: 2, outputs: { hidden: lastHiddenState } }),
  unet: () => unet2DCondition(unetConfig, { batch: 2, height: size, width: size, timesteps: 1 }),
  vae: () =>
    autoencoderKLDecoder(parseAutoencoderKLConfig(config('vae'), 'vae/config.json'), {
      batch: 1,
      height: size,
      width: size,
    }),
}
const components = { text: 'text_encoder', unet: 'unet', vae: 'vae' } as const satisfies Record<string, Component>

/** What a pipeline writes once a picture: what depends on it alone is computed then, as in a pipeline. */
const held = { text: [], unet: ['encoder_hidden_states'], vae: [] }

async function load(name: keyof typeof graphs): Promise<WebGpuSession> {
  const before = performance.now()
  const source = await openComponent(files, components[name])
  const { graph, prelude, frugal } = optimised(graphs[name](), held[name], {
    normaliseOnLoad: values['norms-on-load'],
  })
  const built = performance.now()
  const session = (await executor.load(graph, source, { dtype: 'f16', prelude, frugal })) as WebGpuSession
  await source.close()
  const { plan } = session
  console.log(
    `${name}: graph ${(built - before).toFixed(0)} ms, load ${(performance.now() - built).toFixed(0)} ms; weights ${(session.weightBytes / 1e6).toFixed(1)} MB, arena ${(session.arenaBytes / 1e6).toFixed(2)} MB, ${plan.steps.flatMap((s) => s.dispatches).length} dispatches`,
  )
  return session
}

/** Milliseconds a run on the device: many runs queued, the clock kept warm. */
async function milliseconds(session: WebGpuSession, atLeastMs: number): Promise<{ gpu: number; host: number }> {
  const { program } = session
  const { queue } = device.gpu
  const submit = () => {
    const encoder = device.gpu.createCommandEncoder()
    const pass = encoder.beginComputePass()
    program.encode(pass)
    pass.end()
    queue.submit([encoder.finish()])
  }
  await program.prepare()
  submit()
  await queue.onSubmittedWorkDone()
  const times: number[] = []
  const hosts: number[] = []
  for (const end = performance.now() + atLeastMs; performance.now() < end || times.length < 3; ) {
    const begin = performance.now()
    for (let i = 0; i < 5; i++) submit()
    hosts.push((performance.now() - begin) / 5)
    await queue.onSubmittedWorkDone()
    times.push((performance.now() - begin) / 5)
  }
  const median = (list: number[]) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)]!
  return { gpu: median(times), host: median(hosts) }
}

function table(kernels: readonly KernelTime[]): void {
  const groups = new Map<string, KernelTime[]>()
  for (const kernel of kernels) {
    const key = `${kernel.op}/${kernel.variant} ${kernel.label} [${kernel.shape}]`
    groups.set(key, [...(groups.get(key) ?? []), kernel])
  }
  const sum = (list: readonly KernelTime[], of: (k: KernelTime) => number) => list.reduce((a, k) => a + of(k), 0)
  const rows = [...groups].map(([key, list]) => ({
    key,
    count: list.length,
    ms: sum(list, (k) => k.milliseconds),
    macs: sum(list, (k) => k.macs),
    bytes: sum(list, (k) => k.bytes),
  }))
  rows.sort((a, b) => b.ms - a.ms)
  console.log(`  by kernel, ${sum(kernels, (k) => k.milliseconds).toFixed(2)} ms in all:`)
  for (const { key, count, ms, macs, bytes } of rows.slice(0, 40))
    console.log(
      `  ${ms.toFixed(3)} ms ${count}x ${key} ${((2 * macs) / ms / 1e9).toFixed(1)} TFLOP/s ${(bytes / ms / 1e6).toFixed(0)} GB/s`,
    )
}

const results: Record<string, object> = {}
for (const name of values.only.split(',') as (keyof typeof graphs)[]) {
  const session = await load(name)
  if (name === 'unet') {
    const context = new Float32Array(2 * 77 * unetConfig.contextChannels).fill(0.1)
    await session.hold({ encoder_hidden_states: context })
    session.write({ timestep: timestepInput(unetConfig, [500]) })
  }
  const first = performance.now()
  const { gpu, host } = await milliseconds(session, 600)
  console.log(
    `${name}: ${gpu.toFixed(2)} ms a run, ${host.toFixed(2)} ms of host time (${(performance.now() - first).toFixed(0)} ms measured)`,
  )
  const { weightBytes, arenaBytes, stateBytes } = session
  results[name] = { ms: gpu, hostMs: host, weightBytes, arenaBytes, stateBytes }
  if (device.description.timestamps) {
    await profileProgram(session)
    const kernels = await profileProgram(session)
    table(kernels)
    if (values.profile) writeFileSync(`${values.profile}.${name}.json`, JSON.stringify(kernels))
  }
  session.dispose()
  await device.settle()
}
if (values.json) writeFileSync(values.json, JSON.stringify({ adapter: device.description.name, ...results }))
await executor.dispose()
process.exit(0)
