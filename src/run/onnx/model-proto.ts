// ONNX messages as bytes. Field numbers are those of onnx.proto3.
import type { OnnxAttribute, Shape } from '../../graph/op.ts'
import { bytes, concatBytes, type Field, float, int } from './protobuf.ts'

export const elementTypes = { f32: 1, i32: 6, i64: 7, f16: 10 } as const
export type ElementType = keyof typeof elementTypes

/** Opset 21 has GroupNormalization by channel; IR version 10 belongs to it. */
const opset = 21
const irVersion = 10
/** ONNX Runtime's own operators. */
const contribDomain = 'com.microsoft'

function attribute(name: string, value: OnnxAttribute): Field {
  if ('int' in value) return bytes(5, [bytes(1, name), int(3, value.int), int(20, 2)])
  if ('float' in value) return bytes(5, [bytes(1, name), float(2, value.float), int(20, 1)])
  if ('string' in value) return bytes(5, [bytes(1, name), bytes(4, value.string), int(20, 3)])
  return bytes(5, [bytes(1, name), ...value.ints.map((each) => int(8, each)), int(20, 7)])
}

/** `opType` of ONNX's own domain, or `com.microsoft.X`. An empty input name is an omitted input. */
export function nodeProto(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, OnnxAttribute>>,
): Field {
  const contrib = opType.startsWith(`${contribDomain}.`)
  return bytes(1, [
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(3, outputs[0]!),
    bytes(4, contrib ? opType.slice(contribDomain.length + 1) : opType),
    ...(contrib ? [bytes(7, contribDomain)] : []),
    ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  ])
}

/** An initialiser with its bytes (little endian) in the model. */
export function tensorProto(name: string, type: ElementType, shape: Shape, raw: Uint8Array): Field {
  return bytes(5, [...shape.map((size) => int(1, size)), int(2, elementTypes[type]), bytes(8, name), bytes(9, raw)])
}

/** An initialiser whose bytes lie in a file, or in memory under the name `location`. */
export function externalTensorProto(
  name: string,
  type: ElementType,
  shape: Shape,
  place: { readonly location: string; readonly offset: number; readonly length: number },
): Field {
  const entries = { location: place.location, offset: String(place.offset), length: String(place.length) }
  return bytes(5, [
    ...shape.map((size) => int(1, size)),
    int(2, elementTypes[type]),
    bytes(8, name),
    ...Object.entries(entries).map(([key, value]) => bytes(13, [bytes(1, key), bytes(2, value)])),
    int(14, 1),
  ])
}

export interface ValueInfo {
  readonly name: string
  readonly type: ElementType
  readonly shape: Shape
}

function valueInfo(field: number, { name, type, shape }: ValueInfo): Field {
  const dimensions = shape.map((size) => bytes(1, [int(1, size)]))
  return bytes(field, [bytes(1, name), bytes(2, [bytes(1, [int(1, elementTypes[type]), bytes(2, dimensions)])])])
}

/** A whole model. `nodes` and `tensors` come from the functions above. */
export function modelProto(model: {
  readonly name: string
  readonly nodes: readonly Field[]
  readonly tensors: readonly Field[]
  readonly inputs: readonly ValueInfo[]
  readonly outputs: readonly ValueInfo[]
}): Uint8Array {
  const graph = [
    ...model.nodes,
    bytes(2, model.name),
    ...model.tensors,
    ...model.inputs.map((each) => valueInfo(11, each)),
    ...model.outputs.map((each) => valueInfo(12, each)),
  ]
  return concatBytes([
    int(1, irVersion),
    bytes(7, graph),
    bytes(8, [int(2, opset)]),
    bytes(8, [bytes(1, contribDomain), int(2, 1)]),
  ])
}
