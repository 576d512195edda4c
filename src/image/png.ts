// PNG files of 8-bit RGB or RGBA with text chunks (W3C PNG, third edition). Ours because no kept library writes UTF-8 text chunks.
import { PhospheneError } from '../error.ts'
import type { Picture } from './pixels.ts'

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

/**
 * A whole PNG file. The same picture and texts give the same bytes on the same platform.
 * @param texts by keyword (1 to 79 Latin-1 characters); tEXt where Latin-1 holds the text, else iTXt, as A1111 writes
 */
export async function encodePng(picture: Picture, texts: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
  const { width, height, channels } = picture
  if (picture.pixels.length !== width * height * channels)
    throw internal(`${width}×${height}×${channels} pixels are not ${picture.pixels.length} bytes`)
  const header = new Uint8Array(13)
  const view = new DataView(header.buffer)
  view.setUint32(0, width)
  view.setUint32(4, height)
  header.set([8, channels === 4 ? 6 : 2], 8) // bit depth, colour type
  const parts = [signature, chunk('IHDR', header)]
  for (const [keyword, text] of Object.entries(texts)) parts.push(textChunk(keyword, text))
  parts.push(chunk('IDAT', await deflate(filterRows(picture))), chunk('IEND', new Uint8Array(0)))
  return concat(parts)
}

/** Each row by the filter that leaves the smallest sum of absolute differences (the heuristic of PNG 12.7). */
function filterRows({ width, height, channels, pixels }: Picture): Uint8Array<ArrayBuffer> {
  const stride = width * channels
  const out = new Uint8Array(height * (stride + 1))
  const trial = new Uint8Array(stride)
  for (let y = 0; y < height; y++) {
    const row = y * (stride + 1)
    let best = Number.POSITIVE_INFINITY
    for (let filter = 0; filter < 5; filter++) {
      let sum = 0
      for (let i = 0; i < stride; i++) {
        const at = y * stride + i
        const left = i >= channels ? pixels[at - channels]! : 0
        const up = y > 0 ? pixels[at - stride]! : 0
        const corner = i >= channels && y > 0 ? pixels[at - stride - channels]! : 0
        const rest = (pixels[at]! - predict(filter, left, up, corner)) & 0xff
        trial[i] = rest
        sum += rest < 128 ? rest : 256 - rest
      }
      if (sum >= best) continue
      best = sum
      out[row] = filter
      out.set(trial, row + 1)
    }
  }
  return out
}

function predict(filter: number, left: number, up: number, corner: number): number {
  switch (filter) {
    case 0:
      return 0
    case 1:
      return left
    case 2:
      return up
    case 3:
      return (left + up) >> 1
    default: {
      const [toLeft, toUp, toCorner] = [
        Math.abs(up - corner),
        Math.abs(left - corner),
        Math.abs(left + up - 2 * corner),
      ]
      if (toLeft <= toUp && toLeft <= toCorner) return left
      return toUp <= toCorner ? up : corner
    }
  }
}

function textChunk(keyword: string, text: string): Uint8Array {
  if (!/^[\x20-\x7e\xa1-\xff]{1,79}$/.test(keyword)) throw internal(`${JSON.stringify(keyword)} is no PNG keyword`)
  const plain = text.replaceAll('\0', '') // the format has no room for NUL in a text
  const latin = [...plain].every((each) => each.codePointAt(0)! < 256)
  if (latin) return chunk('tEXt', latin1(`${keyword}\0${plain}`))
  // keyword, NUL, not compressed, method 0, no language, NUL, no translated keyword, NUL
  return chunk('iTXt', concat([latin1(`${keyword}\0\0\0\0\0`), new TextEncoder().encode(plain)]))
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (each) => each.charCodeAt(0))
}

/** zlib's format, by the platform: Node 20 and browsers both have CompressionStream. */
async function deflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

function chunk(type: string, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + body.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, body.length)
  bytes.set(latin1(type), 4)
  bytes.set(body, 8)
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)))
  return bytes
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff
  for (const byte of bytes) c = crcTable[(c ^ byte) & 0xff]! ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let end = 0
  for (const part of parts) {
    bytes.set(part, end)
    end += part.length
  }
  return bytes
}

function internal(message: string): PhospheneError {
  return new PhospheneError({ code: 'internal', message, fix: 'Report this, with the command that led to it.' })
}
