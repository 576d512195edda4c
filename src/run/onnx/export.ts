// A segment of a graph as an ONNX model. Between segments values are in the model's type and channels first; at the
// graph's own edges they are f32 (or i32) and channels last.
import type { Graph, Value } from '../../graph/graph.ts'
import type { TensorType } from '../../graph/op.ts'
import { fromChannelsLast, toChannelsLast } from '../../ops/onnx-layout.ts'
import { lowerExpr } from '../../ops/pointwise.ts'
import type { StorageDType } from '../../tensor/dtype.ts'
import { elementTypes, externalTensorProto } from './model-proto.ts'
import { ModelWriter } from './model-writer.ts'
import type { Segment } from './segments.ts'

/** Where a parameter's bytes lie and of which type they are. */
export interface StoredTensor {
  readonly type: StorageDType
  readonly location: string
  readonly offset: number
  readonly length: number
}

export interface SegmentModel {
  readonly bytes: Uint8Array
  /** ONNX name of each value that the model takes. */
  readonly inputs: ReadonlyMap<Value, string>
  /** ONNX name of each value that later segments take. */
  readonly carried: ReadonlyMap<Value, string>
  /** ONNX name of each graph output that the model makes. */
  readonly results: ReadonlyMap<string, string>
}

/** Writes the segment in `dtype`; `stored` tells where each parameter is, and the model converts those of another type. */
export function exportSegment(
  graph: Graph,
  segment: Segment,
  dtype: StorageDType,
  stored: (param: Value) => StoredTensor,
): SegmentModel {
  const writer = new ModelWriter(dtype)
  const cast = (name: string, to: StorageDType) => writer.node('Cast', [name], { to: { int: elementTypes[to] } })
  const typeOf = ({ kind }: Value): StorageDType => (kind === 'f32' ? 'f32' : dtype)
  const names = new Map<Value, string>()
  const inputs = new Map<Value, string>()
  for (const value of segment.inputs) {
    const { name, shape, kind, origin } = value
    inputs.set(value, name)
    if (origin === 'node') names.set(value, writer.input({ name, shape: writer.shape(shape), type: typeOf(value) }))
    else if (kind === 'int') names.set(value, writer.input({ name, shape, type: 'i32' }))
    else {
      const first = fromChannelsLast(writer, writer.input({ name, shape, type: 'f32' }), shape)
      names.set(value, dtype === 'f32' ? first : cast(first, dtype))
    }
  }
  for (const value of segment.params) {
    const place = stored(value)
    writer.tensor((name) => externalTensorProto(name, place.type, value.shape, place), value.name)
    names.set(value, place.type === dtype ? value.name : cast(value.name, dtype))
  }
  const nameOf = (value: Value): string => {
    const known = names.get(value)
    if (known !== undefined) return known
    const name = fromChannelsLast(writer, writer.floats(value.data!, value.shape), value.shape) // a constant
    names.set(value, name)
    return name
  }
  for (const node of segment.nodes) {
    let result = node.op.onnx(writer, node.inputs.map(nameOf), node.attrs as never, node.inputs, node.output)
    if (node.epilogue) {
      const operands: TensorType[] = [node.output, ...node.epilogue.inputs]
      const shapes = operands.map((each) => each.shape)
      const operandNames = [result, ...node.epilogue.inputs.map(nameOf)]
      result = lowerExpr(writer, node.epilogue.expr, operandNames, shapes, node.output.shape)
    }
    names.set(node.output, result)
  }
  const made = new Set(segment.nodes.map((node) => node.output))
  const results = new Map<string, string>()
  for (const [name, value] of graph.outputs) {
    if (!made.has(value)) continue
    const last = toChannelsLast(writer, nameOf(value), value.shape)
    results.set(name, writer.output(typeOf(value) === 'f32' ? last : cast(last, 'f32'), 'f32', value.shape))
  }
  const carried = new Map<Value, string>()
  for (const value of segment.outputs)
    carried.set(value, writer.output(nameOf(value), typeOf(value), writer.shape(value.shape)))
  return { bytes: writer.finish(graph.name), inputs, carried, results }
}
