// A prompt to token ids, as transformers' CLIPTokenizer does it; the byte-pair encoding itself is @huggingface/tokenizers'.
import { Tokenizer } from '@huggingface/tokenizers'
import { invalidTokenizer, readTokenizerFiles, type TextFiles } from './tokenizer-files.ts'

export interface EncodedPrompt {
  /** [maxLength]: start, the prompt, end, pads. */
  readonly ids: Int32Array
  /** Tokens of the prompt that found no room. */
  readonly truncated: number
}

export interface ClipTokenizer {
  /** Length of `encode`'s ids: 77 in every published model. */
  readonly maxLength: number
  readonly startId: number
  readonly endId: number
  readonly padId: number
  /** One more than the largest id; the text encoder's `vocab_size` must be at least this. */
  readonly vocabSize: number
  encode(prompt: string): EncodedPrompt
  /** The prompt's own ids, without start, end and pads. */
  tokenIds(prompt: string): readonly number[]
}

/**
 * Reads the tokenizer of a model folder. Raises 'tokenizer/missing' or 'tokenizer/invalid'.
 * @param folder `tokenizer`, or `tokenizer_2` where a model has two
 */
export async function loadTokenizer(files: TextFiles, folder = 'tokenizer'): Promise<ClipTokenizer> {
  const { place, tokenizer, startToken, endToken, padToken, maxLength } = await readTokenizerFiles(files, folder)
  const bpe = build(place, tokenizer)
  const idOf = (token: string): number => {
    const id = bpe.token_to_id(token)
    if (id === undefined) throw invalidTokenizer(place, `the vocabulary lacks the special token ${token}`)
    return id
  }
  const [startId, endId, padId] = [idOf(startToken), idOf(endToken), idOf(padToken)]

  /** String.toLowerCase() looks around a capital sigma (ς at a word's end), the reference takes it alone. */
  const tokenIds = (prompt: string) => bpe.encode(prompt.replaceAll('Σ', 'σ'), { add_special_tokens: false }).ids

  return {
    maxLength,
    startId,
    endId,
    padId,
    vocabSize: 1 + [...bpe.get_vocab(true).values()].reduce((largest, id) => Math.max(largest, id), 0),
    tokenIds,
    encode(prompt) {
      const own = tokenIds(prompt)
      const kept = own.slice(0, maxLength - 2)
      const ids = new Int32Array(maxLength).fill(padId)
      ids.set([startId, ...kept, endId])
      return { ids, truncated: own.length - kept.length }
    },
  }
}

function build(place: string, tokenizer: object): Tokenizer {
  try {
    return new Tokenizer(tokenizer, {})
  } catch (error) {
    throw invalidTokenizer(place, `the tokenizer cannot be built: ${(error as Error).message}`, error)
  }
}
