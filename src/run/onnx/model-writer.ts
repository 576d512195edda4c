// Collects the nodes and tensors of one ONNX model while ops write themselves.
import type { OnnxAttribute, OnnxWriter, Shape } from '../../graph/op.ts'
import type { StorageDType } from '../../tensor/dtype.ts'
import { f32ToF16 } from '../../tensor/dtype.ts'
import { type ElementType, modelProto, nodeProto, tensorProto, type ValueInfo } from './model-proto.ts'
import type { Field } from './protobuf.ts'

export class ModelWriter implements OnnxWriter {
  readonly dtype: StorageDType
  private readonly nodes: Field[] = []
  private readonly tensors: Field[] = []
  private readonly inputs: ValueInfo[] = []
  private readonly outputs: ValueInfo[] = []
  private readonly constants = new Map<string, string>()
  private readonly names = new Set<string>()
  private nextId = 0

  constructor(dtype: StorageDType) {
    this.dtype = dtype
  }

  get floatType(): 'float' | 'float16' {
    return this.dtype === 'f32' ? 'float' : 'float16'
  }

  node(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, OnnxAttribute>> = {}): string {
    const output = `#${this.nextId++}`
    this.nodes.push(nodeProto(opType, inputs, [output], attributes))
    return output
  }

  float(values: readonly number[], shape: Shape): string {
    return this.constant(`float ${shape} ${values}`, () => this.floats(Float32Array.from(values), shape))
  }

  int64(values: readonly number[]): string {
    return this.constant(`int64 ${values}`, () => {
      const raw = new Uint8Array(BigInt64Array.from(values, BigInt).buffer)
      return this.tensor((name) => tensorProto(name, 'i64', [values.length], raw))
    })
  }

  axis(rank: number, axis: number): number {
    const positive = axis < 0 ? axis + rank : axis
    if (rank < 4 || positive === 0) return positive
    return positive === rank - 1 ? 1 : positive + 1
  }

  shape(shape: Shape): Shape {
    return shape.length < 4 ? shape : [shape[0]!, shape.at(-1)!, ...shape.slice(1, -1)]
  }

  /** A float constant of the model's type, not shared with equal ones. */
  floats(values: Float32Array, shape: Shape): string {
    const elements = this.dtype === 'f32' ? values : f32ToF16(values)
    const raw = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength)
    return this.tensor((name) => tensorProto(name, this.dtype, shape, raw))
  }

  /** An initialiser; `make` gets the name to give it. */
  tensor(make: (name: string) => Field, name = `#${this.nextId++}`): string {
    this.tensors.push(make(name))
    return name
  }

  input(info: ValueInfo): string {
    this.inputs.push(info)
    this.names.add(info.name)
    return info.name
  }

  /** Makes `name` an output of the model; one that already is an input or output gets a name of its own. */
  output(name: string, type: ElementType, shape: Shape): string {
    const own = this.names.has(name) ? this.node('Identity', [name]) : name
    this.names.add(own)
    this.outputs.push({ name: own, type, shape })
    return own
  }

  finish(name: string): Uint8Array {
    const { nodes, tensors, inputs, outputs } = this
    return modelProto({ name, nodes, tensors, inputs, outputs })
  }

  private constant(key: string, make: () => string): string {
    const known = this.constants.get(key)
    if (known !== undefined) return known
    const name = make()
    this.constants.set(key, name)
    return name
  }
}
