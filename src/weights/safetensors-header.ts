// The header of a .safetensors file, checked as strictly as the format's own library does (huggingface/safetensors, README):
// every byte of the buffer belongs to exactly one tensor. Reading the tensors is safetensors.ts's business.
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'
import { bytesPerElement, type FileDType } from '../tensor/dtype.ts'
import { truncated } from './byte-source.ts'

export const lengthBytes = 8
const maxHeaderBytes = 100_000_000

export interface HeaderEntry {
  readonly name: string
  readonly dtype: FileDType
  readonly shape: readonly number[]
  /** From the start of the file. */
  readonly offset: number
  readonly byteLength: number
}

export interface Header {
  readonly entries: readonly HeaderEntry[]
  readonly metadata: Readonly<Record<string, string>>
}

const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const entrySchema = v.object({ dtype: v.string(), shape: v.array(size), data_offsets: v.tuple([size, size]) })
const metadataSchema = v.record(v.string(), v.string())

/** The header's length in bytes, out of the first 8 bytes. Raises 'weights/header' or 'weights/truncated'. */
export function headerLength(file: string, start: Uint8Array, fileSize: number): number {
  if (start.length < lengthBytes)
    throw truncated(
      file,
      `the file has ${fileSize} bytes, a safetensors file starts with ${lengthBytes} of header length`,
    )
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)
  if (length > maxHeaderBytes)
    throw (
      otherKind(file, start) ??
      headerError(file, `the header is said to have ${length} bytes, at most ${maxHeaderBytes} are allowed`)
    )
  if (lengthBytes + Number(length) > fileSize)
    throw truncated(file, `the header is said to end at byte ${lengthBytes + Number(length)}, the file has ${fileSize}`)
  return Number(length)
}

/** What people have by mistake under this name; all of them look like an enormous header length. */
function otherKind(file: string, start: Uint8Array): PhospheneError | undefined {
  const text = String.fromCharCode(...start)
  if (text.startsWith('PK\x03\x04') || text.startsWith('\x80\x02'))
    return new PhospheneError({
      code: 'model/unsupported',
      message: `${file} is a PyTorch pickle (.ckpt, .bin, .pt), not a .safetensors file`,
      fix: 'Use the .safetensors file of this model; pickles can run code when opened and are not read.',
    })
  if (text === 'version ')
    return new PhospheneError({
      code: 'weights/header',
      message: `${file} is a Git LFS pointer, not the weights themselves`,
      fix: 'Run `git lfs pull` in the model folder, or download the file itself.',
    })
  return undefined
}

/** The tensors that the header names, in the order of their bytes. Raises 'weights/header', 'weights/dtype', 'weights/truncated'. */
export function parseHeader(file: string, header: Uint8Array, fileSize: number): Header {
  const bufferStart = lengthBytes + header.length
  const json = parseJson(file, header)
  const entries: HeaderEntry[] = []
  let metadata: Readonly<Record<string, string>> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name !== '__metadata__') {
      entries.push(parseEntry(file, name, value, bufferStart, fileSize))
      continue
    }
    const parsed = v.safeParse(metadataSchema, value)
    if (!parsed.success)
      throw headerError(file, `__metadata__ must map strings to strings: ${parsed.issues[0].message}`)
    metadata = parsed.output
  }
  entries.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength)
  checkCoverage(file, entries, bufferStart, fileSize)
  return { entries, metadata }
}

function parseJson(file: string, header: Uint8Array): object {
  let text: string
  let json: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
    json = JSON.parse(text)
  } catch (error) {
    throw headerError(file, `the header is not JSON in UTF-8: ${(error as Error).message}`, error)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw headerError(file, `the header is ${json === null ? 'null' : typeof json}, not an object`)
  const twice = duplicateKey(text)
  if (twice !== undefined) throw headerError(file, `the header names ${JSON.stringify(twice)} twice`)
  return json
}

function parseEntry(file: string, name: string, value: unknown, bufferStart: number, fileSize: number): HeaderEntry {
  const parsed = v.safeParse(entrySchema, value)
  if (!parsed.success) {
    const [issue] = parsed.issues
    throw headerError(file, `tensor ${name}: ${v.getDotPath(issue) ?? 'entry'}: ${issue.message}`)
  }
  const { dtype, shape, data_offsets: range } = parsed.output
  if (!isFileDType(dtype))
    throw new PhospheneError({
      code: 'weights/dtype',
      message: `${file}: tensor ${name} has the element type ${dtype}; known: ${Object.keys(bytesPerElement).join(', ')}`,
      fix: 'Use a checkpoint saved as F32, F16 or BF16.',
    })
  const [begin, end] = range
  if (begin > end) throw headerError(file, `tensor ${name} ends at byte ${end}, before its start at ${begin}`)
  if (bufferStart + end > fileSize)
    throw truncated(file, `tensor ${name} ends at byte ${bufferStart + end}, the file has ${fileSize}`)
  const byteLength = shape.reduce((product, each) => product * each, bytesPerElement[dtype])
  if (byteLength !== end - begin)
    throw headerError(
      file,
      `tensor ${name}: shape [${shape}] of ${dtype} takes ${byteLength} bytes, its place has ${end - begin}`,
    )
  return { name, dtype, shape, offset: bufferStart + begin, byteLength }
}

function isFileDType(dtype: string): dtype is FileDType {
  return Object.hasOwn(bytesPerElement, dtype)
}

/** Sorted entries must follow each other without overlap or hole, up to the end of the file. */
function checkCoverage(file: string, entries: readonly HeaderEntry[], bufferStart: number, fileSize: number): void {
  let end = bufferStart
  let before = 'the header'
  for (const { name, offset, byteLength } of entries) {
    if (offset < end)
      throw headerError(file, `tensor ${name} starts at byte ${offset}, inside ${before} that ends at ${end}`)
    if (offset > end)
      throw headerError(file, `bytes ${end} to ${offset}, between ${before} and tensor ${name}, are nobody's`)
    end = offset + byteLength
    before = `tensor ${name}`
  }
  if (end !== fileSize) throw headerError(file, `the last tensor ends at byte ${end}, the file has ${fileSize}`)
}

/** The first key that stands twice in one object; JSON.parse would keep the last silently. `text` is valid JSON. */
function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = []
  // Strings (a key if a colon follows), and the brackets outside of them.
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]+|\\.)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (string !== undefined && colon !== undefined) {
      const key: string = JSON.parse(string)
      const keys = open.at(-1)!
      if (keys.has(key)) return key
      keys.add(key)
    }
  }
  return undefined
}

function headerError(file: string, reason: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    {
      code: 'weights/header',
      message: `${file}: ${reason}`,
      fix: 'The file is damaged or is no safetensors file: download it again.',
    },
    { cause },
  )
}
