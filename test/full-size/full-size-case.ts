// Reference cases at SD 1.5's real shapes: the checkpoint that tools/make-full-size.ts writes, through the real loader, on any
// executor. Knows no test framework, so that a GPU without one can run the cases too.
import type { Graph } from '../../src/graph/graph.ts'
import { autoencoderKLDecoder, parseAutoencoderKLConfig } from '../../src/models/autoencoder-kl.ts'
import { clipText, lastHiddenState, parseClipTextConfig, pool, pooledRows } from '../../src/models/clip-text.ts'
import { timestepInput, unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import type { Executor, HostTensor, Session } from '../../src/run/executor.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { checkParams } from '../../src/weights/check.ts'
import { openComponent } from '../../src/weights/folder.ts'
import type { Component } from '../../src/weights/model-files.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'
import { type HostArray, toChannelsFirst, toChannelsLast } from '../golden/layout.ts'
import type { OutputComparison } from '../golden/module-case.ts'
import { type GoldenCase, type GoldenTensor, loadIndex, readGolden, within } from '../golden/read-golden.ts'

/** The cases of this kind, those of one component beside each other. */
export function fullSizeCases(): readonly GoldenCase[] {
  return loadIndex().filter(({ model }) => model?.startsWith('fullsize') ?? false)
}

interface Module {
  readonly graph: Graph
  readonly inputs: Readonly<Record<string, HostTensor>>
  /** The reference's outputs out of the graph's. */
  results(outputs: Readonly<Record<string, Float32Array>>): Readonly<Record<string, ArrayLike<number>>>
}

type Tensors = ReadonlyMap<string, GoldenTensor>

const builders: Readonly<Record<string, (testCase: GoldenCase, json: unknown, file: string) => Module>> = {
  text_encoder: textEncoder,
  unet,
  vae_decode: vaeDecode,
}

/** The folder of the checkpoint that holds a case's weights. */
function folderOf({ component }: GoldenCase): Component {
  return component === 'vae_decode' ? 'vae' : (component as Component)
}

export interface FullSizeRunner {
  /** Every output of the case against its mark. */
  run(testCase: GoldenCase): Promise<readonly OutputComparison[]>
  dispose(): void
}

/** Runs cases on one executor; neighbours of one component share what is loaded. `folder`: where the checkpoint lies. */
export function fullSizeRunner(folder: string, executor: Executor, dtype: StorageDType): FullSizeRunner {
  let current: { readonly component: string; readonly session: Session } | undefined
  const dispose = () => {
    current?.session.dispose()
    current = undefined
  }
  return {
    async run(testCase) {
      const module = await moduleOf(testCase, folder)
      if (current?.component !== testCase.component) {
        dispose()
        const session = await load(module.graph, folderOf(testCase), folder, executor, dtype)
        current = { component: testCase.component, session }
      }
      return compare(testCase, module.results(await current.session.run(module.inputs)), dtype)
    },
    dispose,
  }
}

async function moduleOf(testCase: GoldenCase, folder: string): Promise<Module> {
  const file = `${folderOf(testCase)}/config.json`
  const json = JSON.parse(await nodeFolder(folder).text(file)) as unknown
  return builders[testCase.component]!(testCase, json, `${folder}/${file}`)
}

async function load(graph: Graph, component: Component, folder: string, executor: Executor, dtype: StorageDType) {
  const weights = await openComponent(nodeFolder(folder), component)
  try {
    checkParams(graph.params.values(), weights)
    return await executor.load(optimise(graph), weights, { dtype })
  } finally {
    await weights.close()
  }
}

function compare(
  { id, file, outputs, marks }: GoldenCase,
  results: Readonly<Record<string, ArrayLike<number>>>,
  dtype: StorageDType,
): readonly OutputComparison[] {
  const references = readGolden(file)
  return Object.entries(outputs).map(([name, key]) => {
    const mark = marks[key]![dtype]
    if (!mark) throw new Error(`${id} has no ${dtype} mark for ${key}`)
    return { name, ...within(results[name]!, tensor(references, key).data as Float32Array, mark) }
  })
}

function tensor(tensors: Tensors, key: string): GoldenTensor {
  const found = tensors.get(key)
  if (!found) throw new Error(`the reference file has no ${key}`)
  return found
}

function image(tensors: Tensors, key: string): { readonly shape: readonly number[]; readonly data: Float32Array } {
  const { shape, data } = tensor(tensors, key)
  const last = toChannelsLast({ shape, data: data as Float32Array })
  return { shape: last.shape, data: Float32Array.from(last.data) }
}

function textEncoder({ file, inputs }: GoldenCase, json: unknown, place: string): Module {
  const config = parseClipTextConfig(json, place)
  const { shape, data } = tensor(readGolden(file), inputs.input_ids!)
  const [batch, tokens] = shape as [number, number]
  const ids = Int32Array.from(data as ArrayLike<number | bigint>, Number)
  const wanted = { last_hidden_state: lastHiddenState, penultimate: { skip: 1, norm: false } }
  return {
    graph: clipText(config, { batch, outputs: wanted }),
    inputs: { input_ids: ids },
    results({ last_hidden_state, penultimate }) {
      return {
        last_hidden_state: last_hidden_state!,
        penultimate: penultimate!.subarray(0, penultimate!.length / batch), // only prompt 0's is stored
        pooler_output: pool(last_hidden_state!, pooledRows(ids, tokens, config), tokens),
      }
    },
  }
}

function unet({ file, inputs, settings }: GoldenCase, json: unknown, place: string): Module {
  const config = parseUNetConfig(json, place)
  const tensors = readGolden(file)
  const sample = image(tensors, inputs.sample!)
  const [batch, height, width] = sample.shape as [number, number, number]
  const graph = unet2DCondition(config, { batch, height, width, timesteps: 1 })
  return {
    graph,
    inputs: {
      sample: sample.data,
      timestep: timestepInput(config, [settings.timestep]),
      encoder_hidden_states: tensor(tensors, inputs.ehs!).data as Float32Array,
    },
    results: (outputs) => ({ sample: firstOutput(graph, outputs).data }),
  }
}

function vaeDecode({ file, inputs }: GoldenCase, json: unknown, place: string): Module {
  const latents = image(readGolden(file), inputs.z!)
  const [batch, height, width] = latents.shape as [number, number, number]
  const graph = autoencoderKLDecoder(parseAutoencoderKLConfig(json, place), { batch, height, width })
  return {
    graph,
    inputs: { latents: latents.data },
    results(outputs) {
      const decoded = firstOutput(graph, outputs)
      return { every4: pixels(decoded, 0, Infinity, 4), crop_200_264: pixels(decoded, 200, 264, 1) }
    },
  }
}

/** The graph's only output, channels first as the references are. */
function firstOutput(graph: Graph, outputs: Readonly<Record<string, Float32Array>>): HostArray {
  const [name, { shape }] = [...graph.outputs][0]!
  return toChannelsFirst({ shape, data: outputs[name]! })
}

/** Of every plane of [n, c, h, w]: rows and columns from `start` up to `end`, one of `step`. */
function pixels({ shape, data }: HostArray, start: number, end: number, step: number): Float32Array {
  const [n, c, h, w] = shape as [number, number, number, number]
  const kept: number[] = []
  for (let plane = 0; plane < n * c; plane++)
    for (let y = start; y < Math.min(end, h); y += step)
      for (let x = start; x < Math.min(end, w); x += step) kept.push(data[(plane * h + y) * w + x]!)
  return Float32Array.from(kept)
}
