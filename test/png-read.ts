// Reads PNG files for tests: 8-bit RGB and RGBA, all filters, text chunks. Throws at anything else, and at a wrong checksum.
import { crc32, inflateSync } from 'node:zlib'

export interface ReadPng {
  readonly width: number
  readonly height: number
  readonly channels: 3 | 4
  /** [height, width, channels] */
  readonly pixels: Uint8Array
  /** tEXt and iTXt chunks by keyword. */
  readonly texts: ReadonlyMap<string, { readonly chunk: 'tEXt' | 'iTXt'; readonly text: string }>
}

export function readPng(file: Uint8Array): ReadPng {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length)
  if (bytes.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') throw new Error('not a PNG file')
  const texts = new Map<string, { chunk: 'tEXt' | 'iTXt'; text: string }>()
  const compressed: Buffer[] = []
  let header: Buffer | undefined
  let type = ''
  for (let at = 8; type !== 'IEND'; ) {
    const length = bytes.readUInt32BE(at)
    type = bytes.toString('latin1', at + 4, at + 8)
    const body = bytes.subarray(at + 8, at + 8 + length)
    const crc = bytes.readUInt32BE(at + 8 + length)
    if (crc32(bytes.subarray(at + 4, at + 8 + length)) !== crc) throw new Error(`${type}: wrong checksum`)
    if (type === 'IHDR') header = body
    if (type === 'IDAT') compressed.push(body)
    if (type === 'tEXt' || type === 'iTXt') texts.set(...textOf(type, body))
    at += 12 + length
  }
  if (!header) throw new Error('no IHDR')
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  const [depth, colour, , , interlace] = header.subarray(8)
  if (depth !== 8 || (colour !== 2 && colour !== 6) || interlace !== 0)
    throw new Error(`depth ${depth}, colour type ${colour}, interlace ${interlace} are not read`)
  const channels = colour === 2 ? 3 : 4
  return {
    width,
    height,
    channels,
    pixels: unfilter(inflateSync(Buffer.concat(compressed)), height, width * channels, channels),
    texts,
  }
}

function textOf(chunk: 'tEXt' | 'iTXt', body: Buffer): [string, { chunk: 'tEXt' | 'iTXt'; text: string }] {
  const end = body.indexOf(0)
  const keyword = body.toString('latin1', 0, end)
  if (chunk === 'tEXt') return [keyword, { chunk, text: body.toString('latin1', end + 1) }]
  if (body[end + 1] !== 0) throw new Error('compressed iTXt is not read')
  const language = body.indexOf(0, end + 3)
  const translated = body.indexOf(0, language + 1)
  return [keyword, { chunk, text: body.toString('utf8', translated + 1) }]
}

function unfilter(rows: Buffer, height: number, stride: number, channels: number): Uint8Array {
  if (rows.length !== height * (stride + 1))
    throw new Error(`${rows.length} bytes of rows, not ${height}×${stride + 1}`)
  const pixels = new Uint8Array(height * stride)
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)]!
    for (let i = 0; i < stride; i++) {
      const at = y * stride + i
      const a = i < channels ? 0 : pixels[at - channels]!
      const b = y === 0 ? 0 : pixels[at - stride]!
      const c = i < channels || y === 0 ? 0 : pixels[at - stride - channels]!
      pixels[at] = rows[y * (stride + 1) + 1 + i]! + prediction(filter, a, b, c)
    }
  }
  return pixels
}

function prediction(filter: number, a: number, b: number, c: number): number {
  if (filter === 0) return 0
  if (filter === 1) return a
  if (filter === 2) return b
  if (filter === 3) return Math.floor((a + b) / 2)
  if (filter !== 4) throw new Error(`filter ${filter}`)
  const p = a + b - c
  const nearest = Math.min(Math.abs(p - a), Math.abs(p - b), Math.abs(p - c))
  return Math.abs(p - a) === nearest ? a : Math.abs(p - b) === nearest ? b : c
}
