// The type of an op: what it does to shapes, what it costs, what it means in f64 and in ONNX.

export type Shape = readonly number[]

/** 'float' is stored as the plan decides (f32 or f16); 'f32' always so (statistics); 'int' is 32-bit (token ids). */
export type ValueKind = 'float' | 'f32' | 'int'

export interface TensorType {
  readonly shape: Shape
  readonly kind: ValueKind
}

/** A tensor of the f64 reference. */
export interface RefTensor {
  readonly shape: Shape
  readonly data: Float64Array
}

/**
 * The reference's answer: the values, and per element the sum of |terms| that went into it.
 * A kernel passes when |got − want| ≤ c · eps(dtype) · scale.
 */
export interface RefResult extends RefTensor {
  readonly scale: Float64Array
}

export interface OpCost {
  /** Multiply-adds of products and convolutions. */
  readonly macs: number
  /** Other arithmetic operations, roughly. */
  readonly operations: number
}

/**
 * What an op's ONNX form writes to. Values of rank ≥ 4 (images) are channels-first in ONNX and channels-last here;
 * `axis` and `shape` translate. Names are ONNX value names.
 */
export interface OnnxWriter {
  /** Adds a node and returns its (single) output's name. Numbers become int or float attributes by name of attribute. */
  node(opType: string, inputs: readonly string[], attributes?: Readonly<Record<string, OnnxAttribute>>): string
  /** A float constant in the model's float type. */
  float(values: readonly number[], shape: Shape): string
  int64(values: readonly number[]): string
  /** The axis in ONNX of axis `axis` (negative allowed) of a value of rank `rank` here. */
  axis(rank: number, axis: number): number
  /** The shape in ONNX of a value of shape `shape` here. */
  shape(shape: Shape): Shape
  /** 'float' for f32 models, 'float16' for f16 models. */
  readonly floatType: 'float' | 'float16'
}

export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] }

export interface OpDef<A> {
  readonly name: string
  /** The result's type. Raises 'graph/shape' with `where` and both values when the inputs do not fit. */
  infer(inputs: readonly TensorType[], attrs: A, where: string): TensorType
  cost(inputs: readonly TensorType[], attrs: A, output: TensorType): OpCost
  reference(inputs: readonly RefTensor[], attrs: A, output: TensorType): RefResult
  /** Writes the op; returns the name of its result. */
  onnx(
    writer: OnnxWriter,
    names: readonly string[],
    attrs: A,
    inputs: readonly TensorType[],
    output: TensorType,
  ): string
}
