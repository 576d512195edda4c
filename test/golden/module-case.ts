// One reference case of a model's module (text encoder, UNet, autoencoder) on any executor: the graph, its inputs and the
// comparison with what diffusers made.
import { readFileSync } from 'node:fs'
import type { Graph } from '../../src/graph/graph.ts'
import {
  autoencoderKLDecoder,
  autoencoderKLEncoder,
  parseAutoencoderKLConfig,
} from '../../src/models/autoencoder-kl.ts'
import {
  type ClipTextConfig,
  clipText,
  type HiddenState,
  lastHiddenState,
  parseClipTextConfig,
  pool,
  pooledRows,
} from '../../src/models/clip-text.ts'
import { timeIdsInput, timestepInput, unet2DCondition } from '../../src/models/unet-2d-condition.ts'
import { parseUNetConfig } from '../../src/models/unet-config.ts'
import { optimise } from '../../src/passes/passes.ts'
import { nodeModel } from '../../src/pipeline/node-model.ts'
import { isSingleFile } from '../../src/pipeline/single-file.ts'
import type { Executor, HostTensor, Session } from '../../src/run/executor.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { checkParams } from '../../src/weights/check.ts'
import { openComponent } from '../../src/weights/folder.ts'
import type { Component, ModelFiles } from '../../src/weights/model-files.ts'
import { everySecondPixel, type HostArray, toChannelsFirst, toChannelsLast } from './layout.ts'
import { type Comparison, type GoldenCase, type GoldenTensor, goldenFolder, readGolden, within } from './read-golden.ts'

type Outputs = Readonly<Record<string, Float32Array>>

/** A case as the engine sees it. */
interface Module {
  readonly graph: Graph
  readonly inputs: Readonly<Record<string, HostTensor>>
  /** The reference's outputs out of the graph's. */
  results(outputs: Outputs): Readonly<Record<string, HostArray>>
}

const builders = {
  text_encoder: textEncoder,
  unet,
  unet_blocks: unet,
  vae_decode: vaeDecode,
  vae_encode: vaeEncode,
} as const satisfies Record<string, (testCase: GoldenCase, json: unknown, file: string) => Module>

export type ModuleComponent = keyof typeof builders
export const moduleComponents = Object.keys(builders) as ModuleComponent[]

export interface OutputComparison extends Comparison {
  readonly name: string
}

/** Runs cases on one executor. Neighbours of one model and shape share a session, which is most of the time they take. */
export interface ModuleRunner {
  /** Every output of the case against its mark. */
  run(testCase: GoldenCase): Promise<readonly OutputComparison[]>
  dispose(): void
}

export function moduleRunner(executor: Executor, dtype: StorageDType): ModuleRunner {
  let current: { readonly key: string; readonly session: Session } | undefined
  const dispose = () => {
    current?.session.dispose()
    current = undefined
  }
  return {
    async run(testCase) {
      const module = moduleOf(testCase)
      const key = sessionKey(testCase, module.graph)
      if (current?.key !== key) {
        dispose()
        current = { key, session: await load(testCase, module.graph, executor, dtype) }
      }
      return compare(testCase, module.results(await current.session.run(module.inputs)), dtype)
    },
    dispose,
  }
}

/** One case on its own; see `ModuleRunner.run`. */
export async function runModuleCase(
  testCase: GoldenCase,
  executor: Executor,
  dtype: StorageDType,
): Promise<readonly OutputComparison[]> {
  const runner = moduleRunner(executor, dtype)
  try {
    return await runner.run(testCase)
  } finally {
    runner.dispose()
  }
}

/** The single file is tiny/sd1's weights under the original names; such files carry no configs. */
function configsOf({ model }: GoldenCase): string {
  return model!.endsWith('.safetensors') ? 'tiny/sd1' : model!
}

function filesOf(testCase: GoldenCase): ModelFiles {
  const path = `${goldenFolder}${testCase.model}`
  return nodeModel(path, isSingleFile(path) ? { config: `${goldenFolder}${configsOf(testCase)}` } : {})
}

function moduleOf(testCase: GoldenCase): Module {
  const file = `${goldenFolder}${configsOf(testCase)}/${testCase.sub}/config.json`
  return builders[testCase.component as ModuleComponent](testCase, JSON.parse(readFileSync(file, 'utf8')), file)
}

/** Weights, inputs with their shapes, and outputs: cases that agree in these have the same graph. */
function sessionKey({ model, sub }: GoldenCase, { name, inputs, outputs }: Graph): string {
  const shapes = [...inputs.values()].map((input) => `${input.name} [${input.shape}]`)
  return [model, sub, name, ...shapes, ...outputs.keys()].join(' ')
}

async function load(testCase: GoldenCase, graph: Graph, executor: Executor, dtype: StorageDType): Promise<Session> {
  const weights = await openComponent(filesOf(testCase), testCase.sub as Component)
  try {
    checkParams(graph.params.values(), weights)
    return await executor.load(optimise(graph), weights, { dtype })
  } finally {
    await weights.close()
  }
}

function compare(
  testCase: GoldenCase,
  results: Readonly<Record<string, HostArray>>,
  dtype: StorageDType,
): readonly OutputComparison[] {
  const { id, outputs, marks, settings } = testCase
  return Object.entries(outputs).map(([name, key]) => {
    const got = toChannelsFirst(results[name]!)
    const stored = settings.stored === undefined ? got : everySecondPixel(got)
    const mark = marks[key]![dtype]
    if (!mark) throw new Error(`${id} has no ${dtype} mark for ${key}`)
    return { name, ...within(stored.data, numbers(read(testCase, key)), mark) }
  })
}

/** The tensor of a case under `key`, which may name another file: `path#key`. */
function read(testCase: GoldenCase, key: string): GoldenTensor {
  const [file, name] = key.includes('#') ? (key.split('#') as [string, string]) : [testCase.file, key]
  const tensor = readGolden(file).get(name)
  if (!tensor) throw new Error(`${file} has no ${name}`)
  return tensor
}

function numbers({ data }: GoldenTensor): Float32Array {
  return Float32Array.from(data as ArrayLike<number | bigint>, Number)
}

/** An input of the case, as an image channels last. */
function input(testCase: GoldenCase, name: string): { shape: readonly number[]; data: Float32Array } {
  const tensor = read(testCase, testCase.inputs[name]!)
  const { shape, data } = toChannelsLast({ shape: tensor.shape, data: numbers(tensor) })
  return { shape, data: Float32Array.from(data) }
}

/** The graph's outputs with their shapes. */
function shaped(graph: Graph, outputs: Outputs): Record<string, HostArray> {
  return Object.fromEntries([...graph.outputs].map(([name, { shape }]) => [name, { shape, data: outputs[name]! }]))
}

function hiddenStates(config: ClipTextConfig): Record<string, HiddenState> {
  return {
    last_hidden_state: lastHiddenState,
    penultimate: { skip: 1, norm: false },
    penultimate_ln: { skip: 1, norm: true },
    hidden_0: { skip: config.num_hidden_layers, norm: false },
    pooler_output: lastHiddenState,
    text_embeds: { ...lastHiddenState, projection: true },
  }
}

function textEncoder(testCase: GoldenCase, json: unknown, file: string): Module {
  const config = parseClipTextConfig(json, file)
  const ids = read(testCase, testCase.inputs.input_ids!)
  const [batch, tokens] = ids.shape as [number, number]
  const idsData = Int32Array.from(ids.data as ArrayLike<number | bigint>, Number)
  const wanted = Object.entries(hiddenStates(config)).filter(([name]) => name in testCase.outputs)
  const graph = clipText(config, { batch, outputs: Object.fromEntries(wanted) })
  return {
    graph,
    inputs: { input_ids: idsData },
    results(outputs) {
      const results = shaped(graph, outputs)
      for (const name of ['pooler_output', 'text_embeds'].filter((each) => each in results)) {
        const data = pool(outputs[name]!, pooledRows(idsData, tokens, config), tokens)
        results[name] = { shape: [batch, data.length / batch], data }
      }
      return results
    },
  }
}

function unet(testCase: GoldenCase, json: unknown, file: string): Module {
  const config = parseUNetConfig(json, file)
  const blocks = testCase.component === 'unet_blocks'
  const sample = input(testCase, 'sample')
  const [batch, height, width] = sample.shape as [number, number, number]
  const timesteps: number[] = new Array(blocks ? batch : 1).fill(testCase.settings.timestep)
  const taps = blocks ? Object.keys(testCase.outputs).filter((name) => name !== 'out') : []
  const graph = unet2DCondition(config, { batch, height, width, timesteps: timesteps.length, taps })
  const added = 'text_embeds' in testCase.inputs && {
    text_embeds: input(testCase, 'text_embeds').data,
    time_ids: timeIdsInput(config, [...input(testCase, 'time_ids').data]),
  }
  return {
    graph,
    inputs: {
      sample: sample.data,
      timestep: timestepInput(config, timesteps),
      encoder_hidden_states: input(testCase, 'ehs').data,
      ...added,
    },
    results(outputs) {
      const results = shaped(graph, outputs)
      return blocks ? results : { sample: results.out! }
    },
  }
}

function vaeDecode(testCase: GoldenCase, json: unknown, file: string): Module {
  const latents = input(testCase, 'z')
  const [batch, height, width] = latents.shape as [number, number, number]
  const graph = autoencoderKLDecoder(parseAutoencoderKLConfig(json, file), { batch, height, width })
  return { graph, inputs: { latents: latents.data }, results: (outputs) => shaped(graph, outputs) }
}

function vaeEncode(testCase: GoldenCase, json: unknown, file: string): Module {
  const sample = input(testCase, 'x')
  const [batch, height, width] = sample.shape as [number, number, number]
  const graph = autoencoderKLEncoder(parseAutoencoderKLConfig(json, file), { batch, height, width })
  return { graph, inputs: { sample: sample.data }, results: (outputs) => shaped(graph, outputs) }
}
