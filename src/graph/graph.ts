// The intermediate representation: values, nodes and the scopes that name parameters.
// What an op means (shapes, arithmetic, ONNX form) is its OpDef's business; what runs it is nobody's here.
import { PhospheneError } from '../error.ts'
import type { Expr } from './expr.ts'
import type { OpDef, Shape, TensorType, ValueKind } from './op.ts'

/** A tensor of the graph. Shapes are logical; images are [n, h, w, c], parameters have the state dict's shape. */
export interface Value extends TensorType {
  readonly id: number
  /** Unique and readable: the state dict's key for a parameter, scope and op for a result. */
  readonly name: string
  readonly graph: Graph
  readonly origin: 'input' | 'param' | 'constant' | 'node'
  /** The node that makes it, when `origin` is 'node'. */
  readonly node?: Node
  /** The elements, when `origin` is 'constant'. */
  readonly data?: Float32Array
  /** Of a parameter that is several ones' rows (first axis) one after the other: their keys in the state dict. */
  readonly parts?: readonly string[]
}

/** What a node does to its own result before it is stored: `expr` over (result, ...inputs). */
export interface Epilogue {
  readonly expr: Expr
  readonly inputs: readonly Value[]
}

export interface Node {
  readonly id: number
  readonly op: OpDef<never>
  readonly inputs: readonly Value[]
  readonly attrs: unknown
  readonly output: Value
  /** Path of the module that made it, e.g. `down_blocks.0.resnets.1.conv1`. */
  readonly scope: string
  readonly epilogue?: Epilogue
}

export class Graph {
  readonly name: string
  readonly nodes: Node[] = []
  readonly inputs = new Map<string, Value>()
  readonly params = new Map<string, Value>()
  readonly outputs = new Map<string, Value>()
  private nextId = 0
  private readonly usedNames = new Map<string, number>()

  constructor(name: string) {
    this.name = name
  }

  /** A tensor that the caller fills before each run. */
  input(name: string, shape: Shape, kind: ValueKind = 'float'): Value {
    if (this.inputs.has(name)) throw graphError(name, 'is already an input of this graph')
    const value: Value = { id: this.nextId++, name, graph: this, origin: 'input', shape, kind }
    this.inputs.set(name, value)
    return value
  }

  /**
   * A weight, under its key in the state dict and with the shape it has there. Asking twice gives the same value.
   * With `parts` it is those weights, stacked along the first axis, under a name of its own.
   */
  param(name: string, shape: Shape, parts?: readonly string[]): Value {
    const known = this.params.get(name)
    if (known) {
      if (String(known.shape) !== String(shape)) throw graphError(name, `is used as [${known.shape}] and as [${shape}]`)
      return known
    }
    const stacked = parts ? { parts } : {}
    const value: Value = { id: this.nextId++, name, graph: this, origin: 'param', shape, kind: 'float', ...stacked }
    this.params.set(name, value)
    return value
  }

  constant(name: string, shape: Shape, data: Float32Array): Value {
    return { id: this.nextId++, name: this.unique(name), graph: this, origin: 'constant', shape, kind: 'float', data }
  }

  /** Adds a node. Shape errors name the scope, here, at the line that made the node. */
  add<A>(op: OpDef<A>, inputs: readonly Value[], attrs: A, scope = '', epilogue?: Epilogue): Value {
    for (const value of inputs)
      if (value.graph !== this) throw graphError(scope, `${op.name} takes ${value.name} from another graph`)
    const type = op.infer(inputs, attrs, scope || op.name)
    const id = this.nextId++
    const name = this.unique(scope ? `${scope}/${op.name}` : op.name)
    const output: { -readonly [K in keyof Value]: Value[K] } = { id, name, graph: this, origin: 'node', ...type }
    const node: Node = {
      id,
      op: op as unknown as OpDef<never>,
      inputs,
      attrs,
      output,
      scope,
      ...(epilogue ? { epilogue } : {}),
    }
    output.node = node
    this.nodes.push(node)
    return output
  }

  output(name: string, value: Value): void {
    if (this.outputs.has(name)) throw graphError(name, 'is already an output of this graph')
    this.outputs.set(name, value)
  }

  scope(path = ''): Scope {
    return new Scope(this, path)
  }

  private unique(name: string): string {
    const count = this.usedNames.get(name) ?? 0
    this.usedNames.set(name, count + 1)
    return count === 0 ? name : `${name}#${count}`
  }
}

/** A place in the module tree: names parameters as the state dict does. */
export class Scope {
  readonly graph: Graph
  readonly path: string

  constructor(graph: Graph, path: string) {
    this.graph = graph
    this.path = path
  }

  scope(name: string): Scope {
    return new Scope(this.graph, this.path ? `${this.path}.${name}` : name)
  }

  param(name: string, shape: Shape): Value {
    return this.graph.param(this.path ? `${this.path}.${name}` : name, shape)
  }

  add<A>(op: OpDef<A>, inputs: readonly Value[], attrs: A): Value {
    return this.graph.add(op, inputs, attrs, this.path)
  }
}

function graphError(where: string, what: string): PhospheneError {
  return new PhospheneError({
    code: 'internal',
    message: `${where}: ${what}`,
    fix: 'This is a mistake in the model code; please report it with the model that you loaded.',
  })
}
