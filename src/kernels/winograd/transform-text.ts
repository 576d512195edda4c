// Both passes of a two-dimensional transform as straight-line WGSL: columns first, so that an invocation that computes two rows
// of the result holds two rows only.
import { linearSteps, stepText, unusedInputs } from './linear.ts'
import type { Matrix } from './matrices.ts'

/** Names of a pass: element (row, column) as `prefix` row _ column. */
const name = (prefix: string, row: number, column: number) => `${prefix}${row}_${column}`

export interface TwoPasses {
  /** Applied to columns, and the other, transposed, to rows: result = matrix · x · acrossᵀ. */
  readonly matrix: Matrix
  readonly across: Matrix
  /** Rows of the result to compute. */
  readonly rows: readonly number[]
  /** Columns of x. */
  readonly columns: number
  /** x(i, j), an expression of type vec4<f32>. */
  load(i: number, j: number): string
  /** What becomes of result (row, column), a variable: a statement. */
  store(row: number, column: number, value: string): string
}

/** Statements that load x, transform it both ways and store the rows asked for. Elements that meet only zeros are not loaded. */
export function twoPasses({ matrix, across, rows, columns, load, store }: TwoPasses): string {
  const first = rows.map((r) => matrix[r]!)
  const unused = unusedInputs(first)
  const lines: string[] = []
  for (let j = 0; j < columns; j++) {
    const inputs = first[0]!.map((_, i) => name('x', i, j))
    for (const [i, input] of inputs.entries()) if (!unused.has(i)) lines.push(`let ${input} = ${load(i, j)};`)
    const outputs = rows.map((r) => name('w', r, j))
    lines.push(...linearSteps(first, inputs, outputs).map(stepText))
  }
  for (const r of rows) {
    const inputs = Array.from({ length: columns }, (_, j) => name('w', r, j))
    const outputs = across.map((_, s) => name('z', r, s))
    lines.push(...linearSteps(across, inputs, outputs).map(stepText))
    lines.push(...outputs.map((output, s) => store(r, s, output)))
  }
  return lines.join('\n  ')
}

/** `part` chooses between bodies; of one there is no choice. */
export function switchText(part: string, bodies: readonly string[]): string {
  if (bodies.length === 1) return bodies[0]!
  const cases = bodies.map((body, p) => `${p + 1 < bodies.length ? `case ${p}u:` : 'default:'} {\n  ${body}\n  }`)
  return `switch ${part} {\n  ${cases.join('\n  ')}\n  }`
}
