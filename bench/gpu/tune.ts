// Measures every variant and tile for every distinct request of SD 1.5's text encoder, UNet or decoder, and prints what the
// cost model chose beside what was fastest. Usage: tune.js [text|unet|vae|micro] [--browser] [--top N] [--ops matmul,conv2d]
// [--only TEXT: requests whose line contains it] [--splits N: by tile, the N likeliest splits of k] [--json FILE: all figures]
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Device } from '../../src/device/device.ts'
import { openDevice } from '../../src/device/node.ts'
import { Graph } from '../../src/graph/graph.ts'
import { type Choice, chooseVariant } from '../../src/kernels/choose.ts'
import type { BindingRole, Family, Kernel, Operand, Request } from '../../src/kernels/family.ts'
import { autoencoderKLDecoder, parseAutoencoderKLConfig } from '../../src/models/autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig } from '../../src/models/clip-text.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { conv2d } from '../../src/ops/conv2d.ts'
import { linear } from '../../src/ops/matmul.ts'
import { optimise } from '../../src/passes/passes.ts'
import { planGraph } from '../../src/plan/plan.ts'
import { capabilitiesOf } from '../../src/run/webgpu/capabilities.ts'
import { readConfigs } from '../../tools/generated-weights.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    kind: { type: 'string', default: 'gpu' },
    top: { type: 'string', default: '3' },
    ops: { type: 'string', default: 'matmul,conv2d,attention,groupNorm,layerNorm,rowMoments' },
    seconds: { type: 'string', default: '200' },
    dtype: { type: 'string', default: 'f16' },
    only: { type: 'string', default: '' },
    splits: { type: 'string', default: '2' },
    candidates: { type: 'string', default: '32' },
    json: { type: 'string' },
  },
})
const wanted = values.ops.split(',')
const deadline = performance.now() + Number(values.seconds) * 1000

const device = await openDevice({ kind: values.kind as 'gpu' | 'software', browserLike: values.browser })
const configs = readConfigs()
/** The two shapes whose rates are published: a product of 4096³ and the convolution that SD 1.5's first level repeats. */
function micro(): Graph {
  const made = new Graph('micro')
  const a = made.input('a', [4096, 4096])
  made.output('product', linear(made.scope('product'), a, 4096, { bias: false }))
  const x = made.input('x', [2, 64, 64, 320])
  made.output('conv', conv2d(made.scope('conv'), x, 320, { kernel: 3, padding: 1 }))
  return made
}

const graphs: Readonly<Record<string, () => Graph>> = {
  micro,
  text: () =>
    clipText(parseClipTextConfig(configs.text_encoder, 'text_encoder'), {
      batch: 2,
      outputs: { hidden: lastHiddenState },
    }),
  vae: () => autoencoderKLDecoder(parseAutoencoderKLConfig(configs.vae, 'vae'), { batch: 1, height: 64, width: 64 }),
  unet: () => unet2DCondition(parseUNetConfig(configs.unet, 'unet'), { batch: 2, height: 64, width: 64, timesteps: 1 }),
}
const graph = graphs[positionals[0] ?? 'unet']!()

interface Job {
  readonly family: Family<unknown>
  readonly request: Request<unknown>
  readonly title: string
  readonly chosen: Choice
  count: number
}
const jobs = new Map<string, Job>()
planGraph(optimise(graph), {
  dtype: values.dtype as 'f16' | 'f32',
  capabilities: capabilitiesOf(device),
  choose(family, request) {
    const { capabilities: _, ...rest } = request
    const text = JSON.stringify([family.op, rest], (key, value) => (key === 'slot' ? undefined : value))
    const chosen = jobs.get(text)?.chosen ?? chooseVariant(family, request)
    const shapes = [...request.inputs.slice(0, 2), request.output].map(({ shape }) => `[${shape}]`)
    const title = `${family.op} ${shapes.slice(0, -1).join('·')} → ${shapes.at(-1)} ${JSON.stringify(request.attrs)}`
    const count = (jobs.get(text)?.count ?? 0) + 1
    jobs.set(text, { family, request, title, chosen, count })
    return chosen
  },
})

const usage = 0x80 | 0x08 | 0x04
const pool = new Map<string, GPUBuffer>()
function poolBuffer(name: string, bytes: number): GPUBuffer {
  const have = pool.get(name)
  if (have && have.size >= bytes) return have
  if (have) device.free(have)
  const made = device.buffer(name, bytes, usage)
  pool.set(name, made)
  return made
}

function operandBytes(operand: Operand): number {
  return (operand.offset4 + operand.rows * operand.stride4) * (operand.storage === 'f32' ? 16 : 8) + 64
}

interface Runnable {
  /** Milliseconds of one run, of `repeats` in one pass. */
  measure(repeats: number): Promise<number>
}

async function runnable(
  owner: Device,
  request: Request<unknown>,
  kernel: Kernel,
  weightBytes: (index: number) => number | undefined,
): Promise<Runnable> {
  const operandOf = (role: BindingRole): Operand | undefined =>
    role.kind === 'input'
      ? request.inputs[role.index]
      : role.kind === 'epilogue'
        ? request.epilogue!.inputs[role.index]
        : request.output
  const bytesOf = (role: BindingRole): { name: string; bytes: number } => {
    if (role.kind === 'scratch') return { name: `scratch${role.index}`, bytes: kernel.scratch[role.index]! }
    const operand = operandOf(role)!
    const bytes = Math.max(operandBytes(operand), role.kind === 'input' ? (weightBytes(role.index) ?? 0) : 0)
    return { name: `slot${operand.slot}`, bytes }
  }
  const constants = (kernel.constants ?? []).map((values) => {
    const buffer = owner.gpu.createBuffer({ size: values.length * 4, usage: 0x40 | 8 })
    owner.gpu.queue.writeBuffer(buffer, 0, Uint32Array.from(values))
    return buffer
  })
  const bufferOf = (role: BindingRole): GPUBuffer =>
    role.kind === 'constant' ? constants[role.index]! : poolBuffer(bytesOf(role).name, bytesOf(role).bytes)
  // All buffers grow before any is bound.
  for (const d of kernel.dispatches) for (const role of d.bindings) bufferOf(role)
  const pipelines = await Promise.all(kernel.dispatches.map((d) => owner.pipeline(d.wgsl, d.label)))
  return {
    async measure(repeats) {
      const commands = kernel.dispatches.map((d, i) => ({
        pipeline: pipelines[i]!,
        group: owner.gpu.createBindGroup({
          layout: owner.layout(d.wgsl),
          entries: d.bindings.map((role, binding) => ({
            binding,
            resource: { buffer: bufferOf(role) },
          })),
        }),
        workgroups: d.workgroups,
      }))
      const encoder = owner.gpu.createCommandEncoder()
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
      })
      for (let i = 0; i < repeats; i++)
        for (const c of commands) {
          pass.setPipeline(c.pipeline)
          pass.setBindGroup(0, c.group)
          pass.dispatchWorkgroups(...c.workgroups)
        }
      pass.end()
      encoder.resolveQuerySet(queries, 0, 2, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16)
      owner.gpu.queue.submit([encoder.finish()])
      await staging.mapAsync(1)
      const [from, to] = new BigUint64Array(staging.getMappedRange())
      const milliseconds = Number(to! - from!) / 1e6 / repeats
      staging.unmap()
      return milliseconds
    },
  }
}

const queries = device.gpu.createQuerySet({ type: 'timestamp', count: 2 })
const resolved = device.gpu.createBuffer({ size: 16, usage: 0x200 | 4 })
const staging = device.gpu.createBuffer({ size: 16, usage: 1 | 8 })

let chosenTotal = 0
let bestTotal = 0
const measured: unknown[] = []
const sorted = [...jobs.values()]
  .filter(({ family, title }) => wanted.includes(family.op) && title.includes(values.only))
  .sort((a, b) => b.count * b.chosen.cost - a.count * a.chosen.cost)
for (const { family, request, title, chosen, count } of sorted) {
  if (performance.now() > deadline) {
    console.log('out of time')
    break
  }
  const all = family.variants.flatMap((variant) =>
    variant.tunings.gpu
      .filter((params) => variant.supports(request, params))
      .map((params) => ({ variant, params, cost: variant.cost(request, params) })),
  )
  all.sort((a, b) => a.cost - b.cost)
  const perTile = new Map<string, number>()
  const candidates = all
    .filter(({ variant, params }) => {
      const tile = JSON.stringify([variant.name, params], (key, value) => (key === 'splits' ? undefined : value))
      const place = perTile.get(tile) ?? 0
      perTile.set(tile, place + 1)
      return place < Number(values.splits)
    })
    .slice(0, Number(values.candidates))
  const results = (
    await Promise.all(
      // Compiled in parallel, all but the hopeless; timed one after the other below.
      candidates.map(async (c) => {
        const kernel = c.variant.emit(request, c.params)
        try {
          await Promise.all(kernel.dispatches.map((d) => device.pipeline(d.wgsl, d.label)))
          return { ...c, kernel, ms: 0 }
        } catch (error) {
          console.log(`  ${c.variant.name} ${JSON.stringify(c.params)}: ${String(error).slice(0, 300)}`)
          return undefined
        }
      }),
    )
  ).filter((c) => c !== undefined)
  const runs = await Promise.all(
    results.map((result) =>
      runnable(device, request, result.kernel, (index) => {
        const operand = request.inputs[index]
        if (operand?.space !== 'weight') return undefined
        const prepared = result.variant.prepare?.(request, result.params, index)
        return prepared ? prepared.elements * (operand.storage === 'f32' ? 4 : 2) : undefined
      }),
    ),
  )
  // The clock of an idle GPU is low: warm it, then give every candidate its turn in each round.
  for (const end = performance.now() + 120; performance.now() < end; ) await runs[0]!.measure(40)
  for (let round = 0; round < 4; round++)
    for (const [i, result] of results.entries()) {
      const ms = await runs[i]!.measure(10)
      result.ms = round === 0 ? ms : Math.min(result.ms, ms)
    }
  const text = (variant: string, params: unknown) => `${variant} ${JSON.stringify(params)}`
  const asChosen = results.find((r) => text(r.variant.name, r.params) === text(chosen.variant, chosen.params))
  const byTime = [...results].sort((a, b) => a.ms - b.ms)
  const weight = request.inputs[1]
  console.log(`${count}x ${title}`)
  const node = request.output.rows * request.output.channels
  const depth = weight && family.op !== 'attention' ? weight.shape.slice(1).reduce((p, d) => p * d, 1) : 0
  const rate = (ms: number) => (depth > 0 ? `${((2 * node * depth) / ms / 1e9).toFixed(1)} TFLOP/s ` : '')
  console.log(
    `   chosen ${asChosen?.ms.toFixed(4)} ms ${rate(asChosen?.ms ?? Number.NaN)}${text(chosen.variant, chosen.params)}`,
  )
  for (const r of byTime.slice(0, Number(values.top)))
    console.log(
      `   best   ${r.ms.toFixed(4)} ms ${text(r.variant.name, r.params)} estimated ${(r.cost / 1e6).toFixed(4)}`,
    )
  measured.push({
    ...{ title, count, chosen: { variant: chosen.variant, params: chosen.params } },
    results: byTime.map(({ variant, params, cost, ms }) => ({ variant: variant.name, params, cost, ms })),
  })
  chosenTotal += count * (asChosen?.ms ?? 0)
  bestTotal += count * (byTime[0]?.ms ?? 0)
}
console.log(`chosen ${chosenTotal.toFixed(2)} ms, best ${bestTotal.toFixed(2)} ms`)
if (values.json) writeFileSync(values.json, JSON.stringify(measured))
process.exit(0)
