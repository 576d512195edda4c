// CLIP's vocabulary out of its merges (OpenAI's simple_tokenizer.py): the signs that stand for bytes, the same at a word's end, what
// each merge makes, and the two special tokens.

/** A sign for each byte: printable ones stand for themselves, the others for signs beyond 255. In the order of their ids. */
function byteSigns(): string[] {
  const ranges = [
    [33, 126],
    [161, 172],
    [174, 255],
  ] as const
  const printable = ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i))
  const others = 256 - printable.length
  return [...printable, ...Array.from({ length: others }, (_, i) => 256 + i)].map((code) => String.fromCharCode(code))
}

/** Words to ids, as vocab.json has them. @param merges merges.txt: a line of two words for each merge, a version line before them */
export function clipVocabulary(merges: string): Readonly<Record<string, number>> {
  const lines = merges.split('\n').filter((line) => line !== '' && !line.startsWith('#version'))
  const signs = byteSigns()
  const words = [
    ...signs,
    ...signs.map((sign) => `${sign}</w>`),
    ...lines.map((line) => line.replace(' ', '')),
    '<|startoftext|>',
    '<|endoftext|>',
  ]
  return Object.fromEntries(words.map((word, id) => [word, id]))
}
