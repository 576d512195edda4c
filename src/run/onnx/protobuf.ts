// The part of the protobuf wire format that ONNX models need: varints, 32-bit floats, length-delimited fields.

export type Field = Uint8Array

const text = new TextEncoder()

function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return bytes
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** An integer; negative ones as 64-bit two's complement. */
export function int(field: number, value: number | bigint): Field {
  return Uint8Array.from([...varint(field << 3), ...varint(value)])
}

export function float(field: number, value: number): Field {
  const bytes = new Uint8Array(new Float32Array([value]).buffer)
  return Uint8Array.from([...varint((field << 3) | 5), ...bytes])
}

/** Bytes, a string (UTF-8) or a nested message given as its fields. */
export function bytes(field: number, value: Uint8Array | string | readonly Field[]): Field {
  const content =
    typeof value === 'string' ? text.encode(value) : value instanceof Uint8Array ? value : concatBytes(value)
  return concatBytes([Uint8Array.from([...varint((field << 3) | 2), ...varint(content.length)]), content])
}
