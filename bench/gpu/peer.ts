// ONNX Runtime's WebGPU provider on the same graphs, the same GPU, in the same run. Usage: peer.js <folder> [--rounds 5]
// Prints one JSON object: milliseconds of a guided UNet step, a decode, an encoding, and of a picture put together of them.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import type { Graph } from '../../src/graph/graph.ts'
import { autoencoderKLDecoder, parseAutoencoderKLConfig } from '../../src/models/autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig } from '../../src/models/clip-text.ts'
import { unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import type { Executor, HostTensor, Session } from '../../src/run/executor.ts'
import { onnxExecutor } from '../../src/run/onnx/executor.ts'
import { webgpuExecutor } from '../../src/run/webgpu/executor.ts'
import { openComponent } from '../../src/weights/folder.ts'
import type { Component } from '../../src/weights/model-files.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    size: { type: 'string', default: '64' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
  },
})
const folder = positionals[0]!
const size = Number(values.size)
const config = (part: string): unknown => JSON.parse(readFileSync(`${folder}/${part}/config.json`, 'utf8'))
const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!

const parts: Readonly<Record<'text' | 'unet' | 'vae', { component: Component; graph(): Graph }>> = {
  text: {
    component: 'text_encoder',
    graph: () =>
      clipText(parseClipTextConfig(config('text_encoder'), 'text_encoder'), {
        batch: 2,
        outputs: { hidden: lastHiddenState },
      }),
  },
  unet: {
    component: 'unet',
    graph: () =>
      unet2DCondition(parseUNetConfig(config('unet'), 'unet'), { batch: 2, height: size, width: size, timesteps: 1 }),
  },
  vae: {
    component: 'vae',
    graph: () =>
      autoencoderKLDecoder(parseAutoencoderKLConfig(config('vae'), 'vae'), { batch: 1, height: size, width: size }),
  },
}

function inputsOf(graph: Graph): Record<string, HostTensor> {
  return Object.fromEntries(
    [...graph.inputs.values()].map(({ name, shape, kind }) => {
      const elements = shape.reduce((a, b) => a * b, 1)
      const data =
        kind === 'int'
          ? new Int32Array(elements).fill(3)
          : Float32Array.from({ length: elements }, (_, i) => Math.sin(i * 0.7))
      return [name, data]
    }),
  )
}

const device = await openDevice({ kind: values.kind as 'gpu' | 'software', adapter: values.adapter })
const executors: Record<'phosphene' | 'onnxruntime', Executor> = {
  phosphene: webgpuExecutor(device),
  onnxruntime: await onnxExecutor({ provider: 'webgpu', segmentMacs: Number.POSITIVE_INFINITY }),
}
const result: Record<string, Record<string, number>> = { phosphene: {}, onnxruntime: {} }
for (const [name, { component, graph }] of Object.entries(parts)) {
  const sessions: { who: string; session: Session; times: number[]; outputs?: Record<string, Float32Array> }[] = []
  for (const [who, executor] of Object.entries(executors)) {
    const source = await openComponent(nodeFolder(folder), component)
    try {
      const session = await executor.load(optimise(graph()), source, { dtype: 'f16' })
      sessions.push({ who, session, times: [] })
    } catch (error) {
      console.error(`${who} ${name}: ${error}`)
    } finally {
      await source.close()
    }
  }
  const inputs = inputsOf(sessions[0]!.session.graph)
  for (let round = 0; round < Number(values.rounds) + 2; round++)
    for (const each of sessions) {
      const start = performance.now()
      each.outputs = await each.session.run(inputs)
      if (round >= 2) each.times.push(performance.now() - start)
    }
  for (const { who, times } of sessions) result[who]![name] = median(times)
  const [a, b] = sessions
  if (a?.outputs && b?.outputs) {
    const key = Object.keys(a.outputs)[0]!
    const [x, y] = [a.outputs[key]!, b.outputs[key]!]
    let error = 0
    let norm = 0
    for (let i = 0; i < x.length; i++) {
      error += (x[i]! - y[i]!) ** 2
      norm += y[i]! ** 2
    }
    result.phosphene![`${name}RelativeDifference`] = Math.sqrt(error / norm)
  }
  for (const { session } of sessions) session.dispose()
  await device.settle()
}
for (const who of Object.values(result)) who.pictureMs = who.text! + 20 * who.unet! + who.vae!
console.log(
  JSON.stringify({
    adapter: device.description.name,
    ...result,
    ratio: result.onnxruntime!.pictureMs! / result.phosphene!.pictureMs!,
  }),
)
process.exit(0)
