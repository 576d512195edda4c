// What a kernel is: a pure function from a typed request to WGSL text, bindings and workgroup counts.
// Families list variants; the plan chooses by `supports` and `cost` (or measurement). Nothing here knows WebGPU objects.
import type { Expr } from '../graph/expr.ts'
import type { Shape } from '../graph/op.ts'

/**
 * How elements lie in a buffer, always in groups of four channels:
 * 'f32' = vec4<f32> (16 B), 'f16' = vec4<f16> (8 B, needs shader-f16), 'f16-packed' = vec2<u32> (8 B, any device),
 * 'int' = u32 a single element;
 * of weights alone 'int8' = u32, 'int4' = half of one: integers, whose scales lie behind them (wgsl/quantised.ts).
 */
export type Storage = 'f32' | 'f16' | 'f16-packed' | 'int' | 'int8' | 'int4'

/** The layout that all variants of an op want of a quantised weight: a matrix [rows][columns4]. */
export type QuantisedLayout =
  /** Blocks lie along rows, which are k; columns are those of both halves. */
  | { readonly blocks: 'rows'; readonly rows: number; readonly columns4: number; readonly halves: 1 | 2 }
  /** Blocks lie along columns: a token table. */
  | { readonly blocks: 'columns'; readonly rows: number; readonly columns4: number }

/**
 * A tensor as a kernel sees it: rows of channels. Row r, channel group g (four channels) is element
 * `offset4 + r · stride4 + g` of its binding. Channels beyond `channels` in the last group are zero: every kernel
 * that writes keeps it so. ('int' operands: element i of row-major order.)
 */
export interface Operand {
  /** Operands with the same slot are the same binding (a residual that is also the input, an output in place). */
  readonly slot: number
  readonly shape: Shape
  readonly storage: Storage
  /** Product of all dimensions but the last. */
  readonly rows: number
  readonly channels: number
  /** ceil(channels / 4). */
  readonly groups4: number
  readonly stride4: number
  readonly offset4: number
  /** 'arena' and 'state' are bound read_write (WebGPU tracks usage by buffer), 'weight' read. */
  readonly space: 'arena' | 'state' | 'weight'
  /** Of 'int8' and 'int4'. */
  readonly quantised?: QuantisedLayout
}

/** The numbers of a device that kernels depend on; a GPUSupportedLimits fits. */
export interface Limits {
  readonly maxComputeWorkgroupStorageSize: number
  readonly maxComputeInvocationsPerWorkgroup: number
  readonly maxComputeWorkgroupSizeX: number
  readonly maxComputeWorkgroupsPerDimension: number
  readonly maxStorageBufferBindingSize: number
  readonly maxStorageBuffersPerShaderStage: number
}

/** A matrix shape that the adapter's matrix units offer (f16 inputs). */
export interface MatrixShape {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly result: 'f16' | 'f32'
}

export interface Capabilities {
  readonly limits: Limits
  readonly shaderF16: boolean
  readonly subgroups: boolean
  /** Smallest and largest subgroup size; equal when it is certain. */
  readonly subgroupSize: readonly [number, number]
  readonly matrixShapes: readonly MatrixShape[]
  /** 'software': SwiftShader, lavapipe: barriers are slow, long text compiles slowly. */
  readonly kind: 'software' | 'gpu'
  /** Set for lavapipe, whose kernels are tuned apart from SwiftShader's: LLVM compiles them, slowly, to fast code. */
  readonly driver?: 'lavapipe' | undefined
}

/** A node, as kernels see it. `attrs` is the op's attribute type (ops/attrs.ts). */
export interface Request<A> {
  readonly attrs: A
  readonly inputs: readonly Operand[]
  readonly output: Operand
  /** Applied to the result before it is stored: input 0 is the result, input i+1 is `inputs[i]`, broadcast to the output. */
  readonly epilogue?: { readonly expr: Expr; readonly inputs: readonly Operand[] }
  readonly capabilities: Capabilities
}

export type BindingRole =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'epilogue'; readonly index: number }
  | { readonly kind: 'output' }
  | { readonly kind: 'scratch'; readonly index: number }
  | { readonly kind: 'constant'; readonly index: number }

/** One dispatch. `bindings[i]` is what `@binding(i)` of group 0 gets. */
export interface Dispatch {
  readonly label: string
  readonly wgsl: string
  readonly bindings: readonly BindingRole[]
  readonly workgroups: readonly [number, number, number]
}

export interface Kernel {
  readonly dispatches: readonly Dispatch[]
  /** Bytes of scratch buffers that live only during this node (bound read_write). */
  readonly scratch: readonly number[]
  /** Lists of u32 that are bound as `var<uniform>`: what differs between dispatches, or layers, that share a text. */
  readonly constants?: readonly (readonly number[])[]
}

/**
 * A rearrangement as numbers: element (i, j, l) of the target, a row-major [a, b, c], is source[i·s₀ + j·s₁ + l·s₂] where
 * i, j, l are below `limits`, else 0.
 */
export interface Permutation {
  readonly sizes: readonly [number, number, number]
  readonly limits: readonly [number, number, number]
  readonly strides: readonly [number, number, number]
}

/** Weights on the host: f32, the bits of f16, quantised integers. */
export type Elements = Float32Array | Uint16Array | Int8Array

/** A weight in the layout that a variant wants: constant to constant, made once at load, element by element. */
export interface PreparedWeight {
  /** Names the layout; weights prepared alike are shared. Holds everything `pack` depends on. */
  readonly key: string
  /** Elements in the result (padding included), a multiple of 4. */
  readonly elements: number
  /** The rearrangement, for devices that do it faster than the host. */
  readonly permutation: Permutation
  /** The same on the host; works on f32 values, on f16 bits and on integers alike (padding is 0 in all). */
  pack(source: Elements, target: Elements): void
}

export interface Variant<A, P> {
  readonly name: string
  /** Parameter rows to choose from, by kind of adapter; lavapipe takes those of `software` where it has none of its own. */
  readonly tunings: { readonly software: readonly P[]; readonly lavapipe?: readonly P[]; readonly gpu: readonly P[] }
  /** Whether this variant can compute the request with these parameters at all. */
  supports(request: Request<A>, params: P): boolean
  /** Estimated time in arbitrary but common units (about nanoseconds on the kind of adapter); lower wins. */
  cost(request: Request<A>, params: P): number
  /** How weight input `index` must lie; undefined: rows of channels, like any operand. */
  prepare?(request: Request<A>, params: P, index: number): PreparedWeight | undefined
  /** The kernel's `scratch`, where telling is cheaper than emitting: a plan passes over kernels that it has no room for. */
  scratch?(request: Request<A>, params: P): readonly number[]
  /** Multiply-adds of its products, where they are not the op's own number: Winograd's are those of the transformed domain. */
  macs?(request: Request<A>, params: P): number
  /** Bytes that pass through memory beside the operands: the logits of an attention that stores them. */
  bytes?(request: Request<A>, params: P): number
  emit(request: Request<A>, params: P): Kernel
  /** c in |got − want| ≤ c · eps(storage) · Σ|terms|, with the reason in the file. */
  readonly tolerance: { readonly f32: number; readonly f16: number }
}

export interface Family<A> {
  readonly op: string
  // A variant's parameters are its own business: `chooseVariant` only hands its own rows back to it.
  readonly variants: readonly Variant<A, unknown>[]
}
