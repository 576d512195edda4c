// A model folder with quantised weights, made of one with floats (docs/quantised-weights.md). Node only. The folder appears whole or
// not at all.
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { PhospheneError } from '../error.ts'
import { type LatentDiffusion, latentDiffusion } from '../models/model-kind.ts'
import { quantisableParams } from '../plan/quantised.ts'
import { throwIfAborted } from '../run/aborted.ts'
import { toFloat16, toFloat32 } from '../tensor/convert.ts'
import { type QuantisedFormat, quantise } from '../tensor/quantise.ts'
import { checkParams } from '../weights/check.ts'
import { openComponent } from '../weights/folder.ts'
import type { Component } from '../weights/model-files.ts'
import { nodeFolder } from '../weights/node-files.ts'
import { type LazyTensor, writeSafetensorsFile } from '../weights/node-write.ts'
import { quantisedBytesOf, quantisedHeaders, quantisedMetadata } from '../weights/quantised.ts'
import type { WeightSource } from '../weights/source.ts'
import type { Graph } from './backend-contract.ts'
import { modelConfigs } from './model.ts'

export interface QuantiseOptions {
  readonly weights: QuantisedFormat
  readonly signal?: AbortSignal | undefined
  /** Told of each component that is written. */
  readonly onComponent?: ((written: QuantisedComponent) => void) | undefined
}

export interface QuantisedComponent {
  readonly folder: string
  readonly quantisedTensors: number
  readonly otherTensors: number
  /** Of the tensors, before and after. */
  readonly bytesBefore: number
  readonly bytesAfter: number
}

/**
 * Writes `to`, which must not exist: the model of `from` with its weights quantised, everything else as it is.
 * Raises 'model/…', 'weights/…', 'output/unwritable', 'aborted'.
 */
export async function quantiseFolder(
  from: string,
  to: string,
  options: QuantiseOptions,
): Promise<readonly QuantisedComponent[]> {
  const files = nodeFolder(from)
  const parts = await latentDiffusion(await modelConfigs(files))
  if (await stat(to).catch(() => undefined))
    throw unwritable(to, 'it exists already', 'Give a folder that is not there yet.')
  const partial = `${resolve(to)}.${process.pid}.partial`
  try {
    await orUnwritable(to, copyOthers(resolve(from), partial))
    const written: QuantisedComponent[] = []
    for (const [folder, graphs] of Object.entries(graphsOf(parts))) {
      throwIfAborted(options.signal)
      const source = await openComponent(files, folder as Component)
      try {
        const component = await quantiseComponent(source, folder, graphs, join(partial, folder), options)
        written.push(component)
        options.onComponent?.(component)
      } finally {
        await source.close()
      }
    }
    await orUnwritable(to, rename(partial, resolve(to)))
    return written
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    throw error
  }
}

/** All graphs that read a component's file. */
function graphsOf({
  textEncoders,
  denoiser,
  autoencoder,
}: LatentDiffusion): Readonly<Record<string, readonly Graph[]>> {
  const [height, width] = denoiser.sampleSize ?? [64, 64]
  return {
    ...Object.fromEntries(textEncoders.map((each) => [each.folder, [each.graph({ batch: 1 })]])),
    [denoiser.folder]: [denoiser.graph({ batch: 1, height, width, tokens: textEncoders[0]!.tokens })],
    [autoencoder.folder]: [
      autoencoder.decoder({ batch: 1, height: 8, width: 8 }),
      autoencoder.encoder({ batch: 1, height: 64, width: 64 }),
    ],
  }
}

async function quantiseComponent(
  source: WeightSource,
  folder: string,
  graphs: readonly Graph[],
  into: string,
  { weights, signal }: QuantiseOptions,
): Promise<QuantisedComponent> {
  if (source.quantised)
    throw new PhospheneError({
      code: 'weights/quantised',
      message: `${source.label} holds ${source.quantised.format} weights already`,
      fix: 'Quantise the original model, whose weights are floats.',
    })
  const params = graphs.flatMap((graph) => [...graph.params.values()])
  // An autoencoder's file may do without the encoder.
  checkParams(graphs[0]!.params.values(), source)
  checkParams(
    params.filter(({ name }) => source.tensors.has(name)),
    source,
  )
  const names = new Set(graphs.flatMap((graph) => [...quantisableParams(graph)].map(({ name }) => name)))
  const wanted = [...source.tensors.values()].filter(({ name }) => params.some((param) => param.name === name))
  const entries = wanted.filter(({ name }) => names.has(name))
  const read = async (name: string) => {
    throwIfAborted(signal)
    return source.read(name)
  }
  const tensors = wanted.flatMap(({ name, shape, dtype }): LazyTensor[] => {
    if (!names.has(name)) {
      const halves = async () => bytesOf(toFloat16(await read(name), dtype))
      return [{ name, dtype: 'F16', shape, bytes: halves }]
    }
    // Once for the scales, which come first in a file, and once for the integers: both of all tensors would fill the memory.
    const made = async () => quantisedBytesOf(quantise(toFloat32(await read(name), dtype), weights, shape))
    const headers = quantisedHeaders(weights, { name, shape })
    return [
      { ...headers.integers, bytes: async () => (await made()).integers },
      { ...headers.scales, bytes: async () => (await made()).scales },
    ]
  })
  const stem = folder.startsWith('text_encoder') ? 'model' : 'diffusion_pytorch_model'
  const path = join(into, `${stem}.safetensors`)
  await writeSafetensorsFile(path, tensors, { format: 'pt', ...quantisedMetadata(weights, entries) })
  return {
    folder,
    quantisedTensors: entries.length,
    otherTensors: wanted.length - entries.length,
    bytesBefore: wanted.reduce((sum, { byteLength }) => sum + byteLength, 0),
    bytesAfter: (await stat(path)).size,
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

const weightFile = /\.(safetensors|bin|ckpt|pt|pth|h5|msgpack|onnx|onnx_data|pb|gguf)$|\.index(\.\w+)?\.json$/

/** Everything but weights and hidden files: configs, tokenizers, licences. */
async function copyOthers(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true })
  await mkdir(to, { recursive: true })
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name).slice(from.length + 1)
    if (entry.isDirectory() || weightFile.test(path) || /(^|[/\\])\./.test(path)) continue
    await mkdir(dirname(join(to, path)), { recursive: true })
    await copyFile(join(from, path), join(to, path))
  }
}

async function orUnwritable<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw unwritable(
      path,
      (error as Error).message,
      'Check that you may write there, and that the disk has room.',
      error,
    )
  }
}

function unwritable(path: string, reason: string, fix: string, cause?: unknown): PhospheneError {
  return new PhospheneError({ code: 'output/unwritable', message: `cannot write ${path}: ${reason}`, fix }, { cause })
}
