// A CLIP tokenizer's files, checked: tokenizer.json, or the older pair vocab.json + merges.txt, and what the configs say about them.
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'

/** What a tokenizer needs of a model folder; ModelFiles fits. */
export interface TextFiles {
  readonly label: string
  exists(path: string): Promise<boolean>
  text(path: string): Promise<string>
}

export interface TokenizerFiles {
  /** Where the tokenizer lies, for messages. */
  readonly place: string
  /** What tokenizer.json says, or would say. */
  readonly tokenizer: TokenizerJson
  readonly startToken: string
  readonly endToken: string
  readonly padToken: string
  readonly maxLength: number
}

/** Checked in place: v.record would copy 49,408 entries, and leave out words such as `constructor`. */
const vocabulary = v.custom<Readonly<Record<string, number>>>(
  (input) =>
    typeof input === 'object' &&
    input !== null &&
    Object.values(input).every((id) => Number.isSafeInteger(id) && id >= 0),
  'must map words to ids',
)
const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const addedToken = v.looseObject({ id, content: v.string(), special: v.boolean() })
const tokenizerSchema = v.looseObject({
  added_tokens: v.array(addedToken),
  model: v.looseObject({
    type: v.literal('BPE'),
    vocab: vocabulary,
    merges: v.array(v.union([v.string(), v.tuple([v.string(), v.string()])])),
  }),
})
type TokenizerJson = v.InferOutput<typeof tokenizerSchema>

const token = v.union([
  v.pipe(
    v.string(),
    v.transform((content) => ({ content, normalized: false })),
  ),
  v.object({ content: v.string(), normalized: v.optional(v.boolean(), false) }),
])
/** `normalized`: found in the prompt after lower-casing, so that `<|EndOfText|>` counts too. */
type SpecialToken = v.InferOutput<typeof token>
const configSchema = v.looseObject({
  bos_token: v.nullish(token),
  eos_token: v.nullish(token),
  pad_token: v.nullish(token),
  model_max_length: v.nullish(v.pipe(v.number(), v.minValue(3))),
})
type Config = v.InferOutput<typeof configSchema>

/** CLIP's context, for configs that leave the length open (transformers writes 1e30 then). */
const clipLength = 77
const longestLength = 100_000

/** Raises 'tokenizer/missing', 'tokenizer/invalid', and what `files.text` raises. */
export async function readTokenizerFiles(files: TextFiles, folder: string): Promise<TokenizerFiles> {
  const path = (name: string) => (folder === '' ? name : `${folder}/${name}`)
  const place = `${files.label}/${folder}`
  const config = await readConfig(files, path('tokenizer_config.json'))
  const special = await readConfig(files, path('special_tokens_map.json'))
  const start = config?.bos_token ?? special?.bos_token ?? { content: '<|startoftext|>', normalized: true }
  const end = config?.eos_token ?? special?.eos_token ?? { content: '<|endoftext|>', normalized: true }
  const pad = config?.pad_token ?? special?.pad_token ?? end
  const length = config?.model_max_length ?? clipLength
  const maxLength = length > longestLength ? clipLength : Math.floor(length)
  const names = ['tokenizer.json', 'vocab.json', 'merges.txt'] as const
  const [whole, vocab, merges] = await Promise.all(names.map((name) => files.exists(path(name))))
  const read = { place, startToken: start.content, endToken: end.content, padToken: pad.content, maxLength }
  if (whole) return { ...read, tokenizer: await readJson(files, path('tokenizer.json'), tokenizerSchema) }
  if (!vocab || !merges)
    throw new PhospheneError({
      code: 'tokenizer/missing',
      message: `${place} has no tokenizer: looked for tokenizer.json, and for vocab.json with merges.txt${
        vocab ? ', of which merges.txt is missing' : merges ? ', of which vocab.json is missing' : ''
      }`,
      fix: "Copy the model's tokenizer folder beside its other folders.",
    })
  const ids = await readJson(files, path('vocab.json'), vocabulary)
  const tokenizer = fromVocab(ids, await files.text(path('merges.txt')), [start, end, pad], path('vocab.json'))
  return { ...read, tokenizer }
}

/**
 * The tokenizer.json that transformers would make of CLIP's vocabulary (convert_slow_tokenizer.py: CLIPConverter):
 * NFC, white space to single spaces, lower case; words, single digits, contractions and runs of other signs.
 * @param special start, end and pad. All are added tokens: SD 2 pads with `!`, so there a `!` in a prompt is the pad's id
 */
function fromVocab(
  vocab: Readonly<Record<string, number>>,
  merges: string,
  special: readonly SpecialToken[],
  file: string,
): TokenizerJson {
  const lines = merges.split('\n').map((line) => line.trimEnd())
  const firstMerge = lines[0]?.startsWith('#version') ? 1 : 0
  // Where two of them are the same token, the last one's `normalized` holds, as in transformers.
  const added = [...new Map(special.map((each) => [each.content, each])).values()].map(({ content, normalized }) => {
    const id = vocab[content]
    if (id === undefined) throw invalidTokenizer(file, `it has no id for the special token ${content}`)
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized, special: true }
  })
  return {
    added_tokens: added,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: special[1]?.content,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: lines.slice(firstMerge).filter((line) => line !== ''),
    },
  }
}

async function readConfig(files: TextFiles, path: string): Promise<Config | undefined> {
  return (await files.exists(path)) ? readJson(files, path, configSchema) : undefined
}

async function readJson<S extends v.GenericSchema>(
  files: TextFiles,
  path: string,
  schema: S,
): Promise<v.InferOutput<S>> {
  const text = await files.text(path)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw invalidTokenizer(`${files.label}/${path}`, `not JSON: ${(error as Error).message}`, error)
  }
  const parsed = v.safeParse(schema, json)
  if (parsed.success) return parsed.output
  const [issue] = parsed.issues
  throw invalidTokenizer(`${files.label}/${path}`, `${v.getDotPath(issue) ?? 'the file'}: ${issue.message}`)
}

/** A tokenizer file that cannot be used, and why. */
export function invalidTokenizer(file: string, reason: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    { code: 'tokenizer/invalid', message: `${file}: ${reason}`, fix: "Download the model's tokenizer folder again." },
    { cause },
  )
}
