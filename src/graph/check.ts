// The checker that runs between passes: what must hold in every graph, whoever built it.
import { PhospheneError } from '../error.ts'
import type { Expr } from './expr.ts'
import type { Graph, Node, Value } from './graph.ts'
import type { Shape } from './op.ts'

/**
 * Raises 'internal' unless every value is defined before its use and belongs to the graph, every shape is what its op infers,
 * epilogues fit their node, and names are unique.
 * @param stage what made the graph, for the message
 */
export function checkGraph(graph: Graph, stage: string): void {
  const fail = (where: string, what: string): never => {
    throw new PhospheneError({
      code: 'internal',
      message: `graph ${graph.name} after ${stage}: ${where} ${what}`,
      fix: 'This is a mistake in a graph pass; please report it with the model that you loaded.',
    })
  }
  const names = new Set<string>()
  const claim = (value: Value): void => {
    if (names.has(value.name)) fail(value.name, 'names two values')
    names.add(value.name)
  }
  const defined = new Set<Value>()
  for (const value of [...graph.inputs.values(), ...graph.params.values()]) {
    claim(value)
    defined.add(value)
  }
  const use = (value: Value, where: string): void => {
    if (value.graph !== graph) fail(where, `uses ${value.name} of another graph`)
    if (value.origin === 'constant' && !defined.has(value)) {
      claim(value)
      defined.add(value)
    }
    if (!defined.has(value)) fail(where, `uses ${value.name} before it is defined`)
  }

  for (const node of graph.nodes) {
    const { output } = node
    for (const value of node.inputs) use(value, output.name)
    const type = node.op.infer(node.inputs, node.attrs as never, node.scope || node.op.name)
    if (String(type.shape) !== String(output.shape) || type.kind !== output.kind)
      fail(output.name, `is ${output.kind} [${output.shape}], its op infers ${type.kind} [${type.shape}]`)
    if (output.node !== node) fail(output.name, 'does not know its node')
    checkEpilogue(node, use, fail)
    claim(output)
    defined.add(output)
  }
  for (const [name, value] of graph.outputs) use(value, `output ${name}`)
}

function checkEpilogue(
  { epilogue, output }: Node,
  use: (value: Value, where: string) => void,
  fail: (where: string, what: string) => never,
): void {
  if (!epilogue) return
  for (const value of epilogue.inputs) {
    use(value, output.name)
    if (!broadcastsTo(value.shape, output.shape))
      fail(output.name, `[${output.shape}] has an epilogue over ${value.name} [${value.shape}]`)
  }
  const highest = highestInput(epilogue.expr)
  if (highest > epilogue.inputs.length)
    fail(output.name, `has an epilogue that reads input ${highest} of ${epilogue.inputs.length}`)
}

function broadcastsTo(shape: Shape, target: Shape): boolean {
  const lead = target.length - shape.length
  return lead >= 0 && shape.every((size, axis) => size === 1 || size === target[lead + axis])
}

function highestInput(expr: Expr, seen = new Set<Expr>()): number {
  if (seen.has(expr)) return 0
  seen.add(expr)
  switch (expr.kind) {
    case 'input':
      return expr.index
    case 'const':
      return 0
    case 'unary':
      return highestInput(expr.x, seen)
    case 'binary':
      return Math.max(highestInput(expr.a, seen), highestInput(expr.b, seen))
  }
}
