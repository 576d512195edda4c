// Copies of a small model with one thing wrong, for tests of what people are told.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { goldenFolder } from './golden/read-golden.ts'

/** A fresh folder that `dispose` removes. */
export interface ScratchFolder {
  readonly path: string
  dispose(): void
}

export function scratchFolder(): ScratchFolder {
  const path = mkdtempSync(join(tmpdir(), 'phosphene-test-'))
  return { path, dispose: () => rmSync(path, { recursive: true, force: true }) }
}

/** A copy of the small SD 1.x model in `scratch`. */
export function copyModel(scratch: ScratchFolder): string {
  const path = join(scratch.path, 'model')
  cpSync(`${goldenFolder}tiny/sd1`, path, { recursive: true })
  return path
}

interface HeaderEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

export interface OpenedSafetensors {
  readonly header: Record<string, HeaderEntry>
  readonly bytes: Uint8Array
}

/** Changes a .safetensors file: its header (any JSON), its bytes, or both. */
export function editSafetensors(file: string, edit: (opened: OpenedSafetensors) => void): void {
  const content = readFileSync(file)
  const length = Number(content.readBigUInt64LE(0))
  const header = JSON.parse(content.toString('utf8', 8, 8 + length)) as Record<string, HeaderEntry>
  const bytes = new Uint8Array(content.subarray(8 + length))
  edit({ header, bytes })
  const json = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(json.length))
  writeFileSync(file, Buffer.concat([size, json, bytes]))
}

/** Removes a tensor and its bytes, so that the rest of the file stays right. */
export function dropTensors(file: string, names: readonly string[]): void {
  const content = readFileSync(file)
  const length = Number(content.readBigUInt64LE(0))
  const header = JSON.parse(content.toString('utf8', 8, 8 + length)) as Record<string, HeaderEntry>
  const kept: Record<string, HeaderEntry> = {}
  const parts: Buffer[] = []
  let end = 0
  for (const [name, entry] of Object.entries(header)) {
    if (names.includes(name) || name === '__metadata__') continue
    const [from, to] = entry.data_offsets
    parts.push(content.subarray(8 + length + from, 8 + length + to))
    kept[name] = { ...entry, data_offsets: [end, end + to - from] }
    end += to - from
  }
  const json = Buffer.from(JSON.stringify(kept))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(json.length))
  writeFileSync(file, Buffer.concat([size, json, ...parts]))
}

/** Changes a JSON file. */
export function editJson(file: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  edit(json)
  writeFileSync(file, JSON.stringify(json))
}
