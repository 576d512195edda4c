// The weights of one component of a diffusers folder, whatever they are called there (diffusers: models/model_loading_utils.py).
// What the tensors must be is told by the model's graph (check.ts).
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'
import type { Component, ModelFiles } from './model-files.ts'
import { clipTextNames, vaeNames } from './names.ts'
import { openQuantised } from './quantised.ts'
import { openSafetensors } from './safetensors.ts'
import { joined, viewOrClose, type WeightSource } from './source.ts'

export interface ComponentOptions {
  /** Only the files of this variant, as diffusers' `variant`. Default: the plain files, else the fp16 ones. */
  readonly variant?: 'fp16' | undefined
  /** Where the component lies in the folder: its own name by default, '' for a folder of that component alone. */
  readonly folder?: string | undefined
}

/**
 * Opens a component's weights under today's diffusers names. Raises 'model/not-found' (listing what was looked for),
 * 'model/config' for a broken index, and what openSafetensors raises.
 */
export async function openComponent(
  files: ModelFiles,
  component: Component,
  options: ComponentOptions = {},
): Promise<WeightSource> {
  if (files.weights) return withOldNames(component, await files.weights(component))
  const folder = options.folder ?? component
  const names = candidates(stemsOf(component), options.variant)
  for (const name of names) {
    const path = join(folder, name)
    if (!(await files.exists(path))) continue
    const source = name.endsWith('.json') ? openSharded(files, folder, path) : openFile(files, path)
    return withOldNames(component, await source)
  }
  throw await notFound(files, folder, names)
}

async function openFile(files: ModelFiles, path: string): Promise<WeightSource> {
  return viewOrClose(await openSafetensors(await files.open(path)), openQuantised)
}

/** transformers calls its files `model`, diffusers `diffusion_pytorch_model`; each is seen under the other's name as well. */
function stemsOf(component: Component): readonly string[] {
  const stems = ['diffusion_pytorch_model', 'model']
  return component.startsWith('text_encoder') ? stems.toReversed() : stems
}

function candidates(stems: readonly string[], variant: 'fp16' | undefined): readonly string[] {
  const plain = stems.flatMap((stem) => [`${stem}.safetensors`, `${stem}.safetensors.index.json`])
  const fp16 = stems.flatMap((stem) => [
    `${stem}.fp16.safetensors`,
    `${stem}.safetensors.index.fp16.json`,
    `${stem}.fp16.safetensors.index.json`,
  ])
  return variant === 'fp16' ? fp16 : [...plain, ...fp16]
}

function withOldNames(component: Component, source: WeightSource): WeightSource {
  if (component === 'vae') return vaeNames(source)
  return component.startsWith('text_encoder') ? clipTextNames(source) : source
}

const indexSchema = v.object({ weight_map: v.record(v.string(), v.string()) })

async function openSharded(files: ModelFiles, folder: string, path: string): Promise<WeightSource> {
  const map = Object.entries(parseIndex(await files.text(path), `${files.label}: ${path}`))
  const shards = new Map<string, WeightSource>()
  try {
    for (const [, file] of map)
      if (!shards.has(file)) shards.set(file, await openSafetensors(await files.open(join(folder, file))))
    const label = join(files.label, join(folder, `${shards.size} shards`))
    return joined(label, new Map(map.map(([name, file]) => [name, shards.get(file)!])))
  } catch (error) {
    await Promise.all([...shards.values()].map((shard) => shard.close()))
    throw error
  }
}

function parseIndex(text: string, path: string): Readonly<Record<string, string>> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw indexError(path, `not JSON: ${(error as Error).message}`, error)
  }
  const parsed = v.safeParse(indexSchema, json)
  if (!parsed.success) {
    const [issue] = parsed.issues
    throw indexError(path, `${v.getDotPath(issue) ?? 'the file'}: ${issue.message}`)
  }
  const map = parsed.output.weight_map
  // A shard lies beside its index: a name that leads elsewhere is a mistake or an attack.
  const astray = Object.values(map).find((file) => !/^[^/\\]+\.safetensors$/.test(file))
  if (astray !== undefined) throw indexError(path, `${JSON.stringify(astray)} is not the name of a .safetensors file`)
  return map
}

function indexError(path: string, reason: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    { code: 'model/config', message: `${path}: ${reason}`, fix: 'Download the index file again.' },
    { cause },
  )
}

async function notFound(files: ModelFiles, folder: string, names: readonly string[]): Promise<PhospheneError> {
  const pickles = await picklesIn(files, folder)
  const place = join(files.label, folder)
  return new PhospheneError({
    code: 'model/not-found',
    message:
      `${place} has no weights; looked for ${names.join(', ')}` +
      (pickles.length > 0 ? `. It has only ${pickles.join(', ')}, which are PyTorch pickles` : ''),
    fix:
      pickles.length > 0
        ? 'Use the .safetensors files of this model; pickles can run code when opened and are not read.'
        : 'Check that the folder is complete; a model is a diffusers folder with model_index.json in it.',
  })
}

const pickleNames = ['diffusion_pytorch_model.bin', 'pytorch_model.bin', 'diffusion_pytorch_model.fp16.bin']

async function picklesIn(files: ModelFiles, folder: string): Promise<readonly string[]> {
  if (files.list) return (await files.list(folder)).filter((name) => /\.(bin|ckpt|pt|pth)$/.test(name))
  const found: string[] = []
  for (const name of pickleNames) if (await files.exists(join(folder, name))) found.push(name)
  return found
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`
}
