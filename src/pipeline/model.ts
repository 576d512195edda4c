// A model folder opened: configs read and checked, tokenizer at hand, weights left where they are until somebody loads them.
import { PhospheneError } from '../error.ts'
import { type LatentDiffusion, latentDiffusion, type ModelConfigs } from '../models/model-kind.ts'
import { parseSchedulerConfig, type RawSchedulerConfig } from '../sampling/config.ts'
import { type ClipTokenizer, loadTokenizer } from '../text/tokenizer.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import { type ModelDefaults, modelDefaults } from './defaults.ts'

export interface Model {
  readonly files: ModelFiles
  /** Last part of the folder's name, for the settings in a picture. */
  readonly name: string
  readonly parts: LatentDiffusion
  readonly scheduler: RawSchedulerConfig
  readonly defaults: ModelDefaults
  /** In the order of `parts.textEncoders`. */
  readonly tokenizers: readonly ClipTokenizer[]
}

/**
 * Reads everything of the model but its weights. Raises 'model/not-found', 'model/config', 'model/unsupported',
 * 'tokenizer/missing', 'tokenizer/invalid'.
 */
export async function openModel(files: ModelFiles): Promise<Model> {
  const parts = await latentDiffusion(await modelConfigs(files))
  const scheduler = parseSchedulerConfig(await files.text('scheduler/scheduler_config.json'))
  const own = (await files.exists('phosphene.json')) ? await files.text('phosphene.json') : undefined
  const tokenizers = await Promise.all(
    parts.textEncoders.map(async ({ tokenizer: folder, config, tokens }) => {
      const tokenizer = await loadTokenizer(files, folder)
      checkTokenizer(`${files.label}/${folder}`, tokenizer, tokens, config.vocab_size)
      return tokenizer
    }),
  )
  return {
    files,
    name: files.label.replace(/[/\\]+$/, '').replace(/^.*[/\\]/, '') || files.label,
    parts,
    scheduler,
    defaults: modelDefaults(own, scheduler),
    tokenizers,
  }
}

/** The configs of a folder. Raises 'model/not-found', 'model/config'. */
export async function modelConfigs(files: ModelFiles): Promise<ModelConfigs> {
  return {
    index: await readJson(files, 'model_index.json'),
    file: `${files.label}/model_index.json`,
    config: async (folder) => ({
      json: await readJson(files, `${folder}/config.json`),
      file: `${files.label}/${folder}/config.json`,
    }),
  }
}

async function readJson(files: ModelFiles, path: string): Promise<unknown> {
  const text = await files.text(path)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PhospheneError(
      {
        code: 'model/config',
        message: `${files.label}/${path} is not JSON: ${(cause as Error).message}`,
        fix: 'Download the file again from where the model came from.',
      },
      { cause },
    )
  }
}

function checkTokenizer(place: string, tokenizer: ClipTokenizer, tokens: number, vocabulary: number): void {
  if (tokenizer.maxLength === tokens && tokenizer.vocabSize <= vocabulary) return
  throw new PhospheneError({
    code: 'tokenizer/invalid',
    message:
      `${place} makes ${tokenizer.maxLength} ids below ${tokenizer.vocabSize}, ` +
      `the text encoder takes ${tokens} below ${vocabulary}`,
    fix: 'Use the tokenizer folder that belongs to this text encoder.',
  })
}
