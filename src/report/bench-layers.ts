// Layers of Stable Diffusion 1.5 by themselves, each in turns with ONNX Runtime's WebGPU provider: one graph, one adapter, one run.
import type { Device } from '../device/device.ts'
import { PhospheneError } from '../error.ts'
import { optimise } from '../passes/passes.ts'
import { breathe, throwIfAborted } from '../run/aborted.ts'
import type { Executor, HostTensor, Session } from '../run/executor.ts'
import { onnxExecutor } from '../run/onnx/executor.ts'
import { webgpuExecutor } from '../run/webgpu/executor.ts'
import { WebGpuSession } from '../run/webgpu/session.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { type BenchOptions, openBenchDevice, resolveDType } from './bench-device.ts'
import { relativeDifference } from './difference.ts'
import { generatedInputs, generatedParameters } from './generated-tensors.ts'
import { type LayerCase, layerCases, multiplyAdds, sideWithin } from './layer-cases.ts'
import { openPeer } from './peer.ts'
import { type Summary, summarise } from './statistics.ts'

export type LayerBenchOptions = Pick<
  BenchOptions,
  'device' | 'adapter' | 'dtype' | 'browserLike' | 'signal' | 'onProgress'
> & {
  /** Part of the names of the layers to measure; all by default. */
  readonly only?: string | undefined
  /** Times that both are measured. */
  readonly rounds?: number | undefined
  /** The most multiply-adds of a layer; by default those of a 512² picture on a GPU, and fewer on software adapters. */
  readonly macs?: number | undefined
}

export interface LayerRow {
  readonly name: string
  /** Of the inputs, images [n, h, w, c] and rows [n, t, c]. */
  readonly shapes: readonly (readonly number[])[]
  readonly macs: number
  /** Medians of a run, from inputs on the host to results on the host. */
  readonly ms: number
  readonly peerMs: number
  /** The peer's median over the engine's. */
  readonly ratio: number
  readonly spread: { readonly ms: Summary; readonly peerMs: Summary }
  /** Root mean square of the difference between the two results, relative to the peer's. */
  readonly difference: number
  /** Of each one's result from that of ONNX Runtime's CPU kernels. */
  readonly error: number
  readonly peerError: number
  /** The engine's kernels, in their order. */
  readonly variants: readonly string[]
}

export interface LayerBench {
  readonly adapter: string
  readonly device: Device['description']['kind']
  readonly browserLike: boolean
  readonly dtype: StorageDType
  readonly peer: string
  readonly rounds: number
  readonly cases: readonly LayerRow[]
  /** Of the ratios. */
  readonly geometricMean: number
}

/** Raises 'device/none', 'options/invalid' for `only`, and 'run/failed' where the peer has no kernel for a layer. */
export async function benchLayers(options: LayerBenchOptions): Promise<LayerBench> {
  const { rounds = 5, signal, onProgress = () => {} } = options
  const chosen = casesNamed(options.only)
  const device = await openBenchDevice(options)
  let peer: Executor | undefined
  try {
    const { kind, name } = device.description
    const dtype = resolveDType(options.dtype, kind)
    onProgress(`${name}, ${dtype}`)
    peer = await openPeer(device)
    const executors = { own: webgpuExecutor(device), peer, cpu: await onnxExecutor() }
    const most = options.macs ?? (kind === 'gpu' ? Number.POSITIVE_INFINITY : softwareMacs)
    const cases: LayerRow[] = []
    for (const each of chosen) {
      throwIfAborted(signal)
      const row = await measure(each, sideWithin(each, most), executors, { dtype, rounds, signal })
      await device.settle()
      onProgress(`${each.name}: ${row.ms.toFixed(2)} ms, peer ${row.peerMs.toFixed(2)} ms, ${row.ratio.toFixed(2)}×`)
      cases.push(row)
    }
    return {
      adapter: name,
      device: kind,
      browserLike: options.browserLike ?? false,
      dtype,
      peer: peer.description,
      rounds,
      cases,
      geometricMean: Math.exp(cases.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / cases.length),
    }
  } finally {
    await peer?.dispose()
    device.destroy()
  }
}

/** A quarter of a second on SwiftShader, and up to five for the peer. */
const softwareMacs = 250e6

function casesNamed(only: string | undefined): readonly LayerCase[] {
  const found = layerCases.filter(({ name }) => only === undefined || name.includes(only))
  if (found.length > 0) return found
  throw new PhospheneError({
    code: 'options/invalid',
    message: `no layer has ${JSON.stringify(only)} in its name`,
    fix: `Use a part of one of: ${layerCases.map(({ name }) => name).join(', ')}.`,
  })
}

interface Turns {
  readonly dtype: StorageDType
  readonly rounds: number
  readonly signal: AbortSignal | undefined
}

type Executors = Readonly<Record<'own' | 'peer' | 'cpu', Executor>>

async function measure(layer: LayerCase, side: number, executors: Executors, turns: Turns): Promise<LayerRow> {
  const graph = optimise(layer.graph(side))
  const parameters = generatedParameters(graph)
  const inputs = generatedInputs(graph)
  const { dtype, rounds, signal } = turns
  const loaded: Session[] = []
  const load = async (executor: Executor) => {
    const session = await executor.load(graph, parameters, { dtype, signal })
    loaded.push(session)
    return session
  }
  try {
    const wanted = await once(await load(executors.cpu), inputs)
    const [own, peer] = [await load(executors.own), await load(executors.peer)]
    // First runs compile what loading did not, and drivers warm up: two of each before anything counts.
    const [got, other] = [await once(own, inputs), await once(peer, inputs)]
    await once(own, inputs)
    await once(peer, inputs)
    const [ms, peerMs]: [number[], number[]] = [[], []]
    for (let round = 0; round < rounds; round++) {
      await breathe(signal)
      ms.push(await time(own, inputs))
      peerMs.push(await time(peer, inputs))
    }
    const spread = { ms: summarise(ms), peerMs: summarise(peerMs) }
    return {
      name: layer.name,
      shapes: [...graph.inputs.values()].map(({ shape }) => shape),
      macs: multiplyAdds(graph),
      ms: spread.ms.median,
      peerMs: spread.peerMs.median,
      ratio: spread.peerMs.median / spread.ms.median,
      spread,
      difference: relativeDifference(got, other),
      error: relativeDifference(got, wanted),
      peerError: relativeDifference(other, wanted),
      variants: own instanceof WebGpuSession ? own.plan.steps.map(({ variant }) => variant) : [],
    }
  } finally {
    for (const session of loaded) session.dispose()
  }
}

type Inputs = Readonly<Record<string, HostTensor>>

async function once(session: Session, inputs: Inputs): Promise<Record<string, Float32Array>> {
  const results = await session.run(inputs)
  return Object.fromEntries(Object.entries(results).map(([name, values]) => [name, values.slice()]))
}

async function time(session: Session, inputs: Inputs): Promise<number> {
  const start = performance.now()
  await session.run(inputs)
  return performance.now() - start
}
