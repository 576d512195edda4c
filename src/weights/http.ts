// Model folders and files on a server, read by HTTP Range: only the bytes that are asked for are moved.
import { PhospheneError } from '../error.ts'
import { type ByteSource, checkRange } from './byte-source.ts'
import type { ModelFiles } from './model-files.ts'

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>

export interface HttpOptions {
  /** Of the platform by default; a caller's own may add headers or a cache. */
  readonly fetch?: Fetch
}

/** The first request fetches this much, which covers the header of most files. */
const firstBytes = 64 * 1024

/** No `text/html`: development servers answer such requests for missing files with their start page. */
const headers = { accept: 'application/octet-stream, application/json, text/plain' }

const platformFetch: Fetch = (url, init) => fetch(url, init)

/**
 * Opens one file with a first request that also shows whether the server knows ranges.
 * Raises 'model/not-found' (404) or 'weights/http'.
 */
export async function openUrl(url: string, options: HttpOptions = {}): Promise<ByteSource> {
  const get = options.fetch ?? platformFetch
  const response = await request(get, url, { headers: { ...headers, range: `bytes=0-${firstBytes - 1}` } })
  if (response.status === 416 && response.headers.get('content-range') === 'bytes */0') {
    await response.body?.cancel()
    return httpBytes(get, url, 0, new Uint8Array(0)) // an empty file has no first byte
  }
  await expectPartial(response, url)
  const start = await bodyOf(response, url)
  const size = totalOf(response) ?? (await sizeByHead(get, url))
  if (start.length !== Math.min(firstBytes, size))
    throw httpError(url, `bytes 0 to ${Math.min(firstBytes, size)} were asked for, ${start.length} came`)
  return httpBytes(get, url, size, start)
}

function httpBytes(get: Fetch, url: string, size: number, start: Uint8Array): ByteSource {
  const source: ByteSource = {
    name: url,
    size,
    async read(offset, length) {
      checkRange(source, offset, length)
      if (offset + length <= start.length) return start.slice(offset, offset + length)
      const range = `bytes=${offset}-${offset + length - 1}`
      const response = await request(get, url, { headers: { ...headers, range } })
      await expectPartial(response, url)
      const total = totalOf(response)
      if (total !== undefined && total !== size)
        throw httpError(url, `the file had ${size} bytes when opened and has ${total} now`)
      const bytes = await bodyOf(response, url)
      if (bytes.length !== length)
        throw httpError(
          url,
          `bytes ${offset} to ${offset + length} were asked for, ${bytes.length} came instead of ${length}`,
        )
      const first = firstOf(response)
      if (first !== undefined && first !== offset)
        throw httpError(url, `bytes from ${offset} were asked for, those from ${first} came`)
      return bytes
    },
    async readInto(offset, target) {
      target.set(await source.read(offset, target.length))
    },
    async close() {},
  }
  return source
}

/** A model folder on a server. */
export function httpFolder(url: string, options: HttpOptions = {}): ModelFiles {
  const get = options.fetch ?? platformFetch
  const base = url.endsWith('/') ? url : `${url}/`
  return {
    label: url,
    async exists(path) {
      const response = await send(get, base + path, { method: 'HEAD', headers })
      if (response.ok) return !isPage(response)
      if (isMissing(response)) return false
      throw httpError(base + path, `the server answered ${response.status} ${response.statusText}`)
    },
    async text(path) {
      const response = await request(get, base + path, { headers })
      return new TextDecoder().decode(await bodyOf(response, base + path))
    },
    open: (path) => openUrl(base + path, options),
  }
}

/** The answer, whatever its status. Raises 'weights/http' when there is none. */
async function send(get: Fetch, url: string, init: RequestInit): Promise<Response> {
  try {
    return await get(url, init)
  } catch (error) {
    throw httpError(url, `no answer: ${(error as Error).message}`, error)
  }
}

/** The answer to a GET. Raises 'model/not-found' or 'weights/http' unless it carries the file or a part of it. */
async function request(get: Fetch, url: string, init: RequestInit): Promise<Response> {
  const response = await send(get, url, init)
  if (isMissing(response) || (response.ok && isPage(response))) {
    await response.body?.cancel()
    throw new PhospheneError({
      code: 'model/not-found',
      message: `${url}: the server has no such file (${response.ok ? 'it sent a web page' : response.status})`,
      fix: 'Check the address; a model is a diffusers folder with model_index.json in it, or a checkpoint in one .safetensors file.',
    })
  }
  if (response.ok || response.status === 416) return response
  await response.body?.cancel()
  throw httpError(url, `the server answered ${response.status} ${response.statusText}`)
}

function isMissing(response: Response): boolean {
  return response.status === 404 || response.status === 410
}

function isPage(response: Response): boolean {
  return response.headers.get('content-type')?.startsWith('text/html') ?? false
}

async function expectPartial(response: Response, url: string): Promise<void> {
  if (response.status === 206) return
  await response.body?.cancel() // it may be gigabytes
  throw httpError(
    url,
    response.status === 200
      ? 'the server ignores Range requests: it would send the whole file for each tensor'
      : `the server answered ${response.status} ${response.statusText} to a Range request`,
  )
}

async function bodyOf(response: Response, url: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer())
  } catch (error) {
    throw httpError(url, `the connection broke: ${(error as Error).message}`, error)
  }
}

/** The file's size, where the server lets scripts of this origin see it. */
function totalOf(response: Response): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
  return total === undefined ? undefined : Number(total)
}

function firstOf(response: Response): number | undefined {
  const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
  return first === undefined ? undefined : Number(first)
}

/** Content-Length is visible across origins where Content-Range is not (Fetch standard, CORS-safelisted response headers). */
async function sizeByHead(get: Fetch, url: string): Promise<number> {
  const response = await send(get, url, { method: 'HEAD', headers })
  const length = response.ok ? response.headers.get('content-length') : null
  if (length === null || response.headers.has('content-encoding'))
    throw httpError(url, "the server does not tell the file's size")
  return Number(length)
}

function httpError(url: string, reason: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    {
      code: 'weights/http',
      message: `${url}: ${reason}`,
      fix: 'Serve the folder with a server that supports Range requests and allows this origin (CORS), or try again.',
    },
    { cause },
  )
}
