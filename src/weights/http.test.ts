import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { goldenFolder } from '../../test/golden/read-golden.ts'
import { openComponent } from './folder.ts'
import { httpFolder, openUrl } from './http.ts'
import { nodeFolder } from './node-files.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

let close: (() => Promise<void>) | undefined
afterEach(async () => {
  await close?.()
  close = undefined
})

/** Serves until the test ends; the address has no slash at its end. */
async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  close = () =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Answers as a server with Range support does; `change` may spoil the answer. */
function ranged(
  bytes: Uint8Array,
  change: (answer: { body: Uint8Array; headers: Record<string, string>; from: number }) => void = () => {},
): Handler {
  return (request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined || Number(from) >= bytes.length) {
      response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
      return
    }
    const end = Math.min(Number(to) + 1, bytes.length)
    const headers = { 'content-range': `bytes ${from}-${end - 1}/${bytes.length}` }
    const answer = { body: bytes.subarray(Number(from), end), headers, from: Number(from) }
    change(answer)
    response.writeHead(206, answer.headers).end(answer.body)
  }
}

/** More than the first request fetches. */
const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 31) & 255)

describe('openUrl', () => {
  it('reads ranges; the first request serves the start of the file', async () => {
    let requests = 0
    const inner = ranged(bytes)
    const url = await serve((request, response) => {
      requests++
      inner(request, response)
    })
    const file = await openUrl(url)
    expect(file.size).toBe(bytes.length)
    expect(await file.read(0, 60_000)).toEqual(bytes.subarray(0, 60_000))
    expect(requests).toBe(1)
    expect(await file.read(65_530, 12)).toEqual(bytes.subarray(65_530, 65_542))
    expect(await file.read(199_999, 1)).toEqual(bytes.subarray(199_999))
    expect(requests).toBe(3)
    await expect(file.read(199_999, 2)).rejects.toMatchObject({ code: 'weights/truncated' })
    expect(requests).toBe(3)
  })

  it('an empty file', async () => {
    const file = await openUrl(await serve(ranged(new Uint8Array(0))))
    expect(file.size).toBe(0)
    expect(await file.read(0, 0)).toHaveLength(0)
  })

  it('a size that only HEAD shows (Content-Range hidden across origins)', async () => {
    const inner = ranged(bytes, ({ headers }) => delete headers['content-range'])
    const url = await serve((request, response) => {
      if (request.method === 'HEAD') response.writeHead(200, { 'content-length': bytes.length }).end()
      else inner(request, response)
    })
    const file = await openUrl(url)
    expect(file.size).toBe(bytes.length)
    expect(await file.read(100_000, 5)).toEqual(bytes.subarray(100_000, 100_005))
  })

  it('sends the headers of a caller’s own fetch', async () => {
    const inner = ranged(bytes)
    const url = await serve((request, response) => {
      if (request.headers.authorization === 'Bearer x') inner(request, response)
      else response.writeHead(401).end()
    })
    await expect(openUrl(url)).rejects.toMatchObject({ code: 'weights/http', message: expect.stringContaining('401') })
    const own = (address: string, init: RequestInit = {}) =>
      fetch(address, { ...init, headers: { ...init.headers, authorization: 'Bearer x' } })
    expect((await openUrl(url, { fetch: own })).size).toBe(bytes.length)
  })

  const spoiled: readonly (readonly [string, Handler, string, string])[] = [
    ['no Range support', (_, response) => response.writeHead(200).end(bytes), 'weights/http', 'ignores Range'],
    ['404', (_, response) => response.writeHead(404).end(), 'model/not-found', 'no such file (404)'],
    [
      'a start page for all',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype'),
      'model/not-found',
      'a web page',
    ],
    ['500', (_, response) => response.writeHead(500).end(), 'weights/http', '500'],
    ['a broken connection', (request) => request.socket.destroy(), 'weights/http', 'no answer'],
    [
      'a short start',
      ranged(bytes, (answer) => {
        answer.body = answer.body.subarray(1)
      }),
      'weights/http',
      '65535 came',
    ],
    [
      'no size anywhere',
      (request, response) =>
        request.method === 'HEAD' ? response.writeHead(405).end() : response.writeHead(206).end('x'),
      'weights/http',
      'size',
    ],
  ]
  it.each(spoiled)('opening: %s', async (_, handler, code, message) => {
    await expect(openUrl(await serve(handler))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    })
  })

  const later = (change: Parameters<typeof ranged>[1] & {}): Handler =>
    ranged(bytes, (answer) => {
      if (answer.from > 0) change(answer)
    })
  const spoiledLater: readonly (readonly [string, Handler, string])[] = [
    [
      'a short answer',
      later((answer) => {
        answer.body = answer.body.subarray(1)
      }),
      '9 came instead of 10',
    ],
    [
      'a long answer',
      later((answer) => {
        answer.body = bytes.subarray(0, 11)
      }),
      '11 came instead of 10',
    ],
    [
      'another range',
      later(({ headers }) => {
        headers['content-range'] = 'bytes 7-16/200000'
      }),
      'those from 7 came',
    ],
    [
      'another file by now',
      later(({ headers }) => {
        headers['content-range'] = 'bytes 100000-100009/5'
      }),
      'has 5 now',
    ],
    [
      'a connection that breaks in the middle',
      later(({ headers }) => {
        headers['content-length'] = '10000'
      }),
      'the connection broke',
    ],
  ]
  it.each(spoiledLater)('reading: %s', async (name, handler, message) => {
    const url = await serve((request, response) => {
      handler(request, response)
      if (name.includes('breaks') && !request.headers.range?.startsWith('bytes=0'))
        setTimeout(() => request.socket.destroy(), 50)
    })
    const file = await openUrl(url)
    await expect(file.read(100_000, 10)).rejects.toMatchObject({
      code: 'weights/http',
      message: expect.stringContaining(message),
    })
  })
})

describe('httpFolder', () => {
  /** The tiny SD 1 folders; unknown paths get a start page, as from a development server. */
  const site: Handler = async (request, response) => {
    const path = new URL(request.url!, 'http://x').pathname
    const body = await readFile(`${goldenFolder}tiny${path}`).catch(() => undefined)
    if (!body) response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>')
    else if (request.headers.range) ranged(body)(request, response)
    else response.writeHead(200, { 'content-length': body.length }).end(request.method === 'HEAD' ? undefined : body)
  }

  it('gives the component that the same folder on disk gives', async () => {
    const url = await serve(site)
    for (const model of ['sd1', 'sd1_sharded_unet']) {
      const far = await openComponent(httpFolder(`${url}/${model}/`), 'unet')
      const near = await openComponent(nodeFolder(`${goldenFolder}tiny/${model}`), 'unet')
      expect([...far.tensors.values()]).toEqual([...near.tensors.values()])
      const names = [...near.tensors.keys()]
      for (const name of [names[0]!, names[100]!, names.at(-1)!]) {
        expect(await far.read(name)).toEqual(await near.read(name))
        expect(far.locate(name)).toBeUndefined()
      }
      await Promise.all([far.close(), near.close()])
    }
  })

  it('exists and text', async () => {
    const files = httpFolder(`${await serve(site)}/sd1`)
    expect(await files.exists('unet/config.json')).toBe(true)
    expect(await files.exists('unet/nothing.json')).toBe(false)
    expect(JSON.parse(await files.text('unet/config.json'))).toMatchObject({ _class_name: 'UNet2DConditionModel' })
    await expect(files.text('unet/nothing.json')).rejects.toMatchObject({ code: 'model/not-found' })
  })

  it('a server that fails is no missing file', async () => {
    const files = httpFolder(await serve((_, response) => response.writeHead(503).end()))
    await expect(files.exists('x')).rejects.toMatchObject({ code: 'weights/http' })
  })
})
