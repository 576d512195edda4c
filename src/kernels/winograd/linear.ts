// A constant matrix times a vector as straight-line code: what pairs of rows or columns share is computed once.
// The steps are data, so that WGSL text and the f32 arithmetic of the error tables come from the same place.
import { f32Text } from '../wgsl/number.ts'
import type { Matrix } from './matrices.ts'

/** `name` = Σ coefficient · term, summed in this order. */
export interface Step {
  readonly name: string
  readonly terms: readonly (readonly [coefficient: number, term: string])[]
}

const equal = (a: number, b: number) => Math.abs(a - b) <= 1e-12 * Math.max(1, Math.abs(a))
const terms = (row: readonly number[], names: readonly string[], keep: (k: number) => boolean = () => true) =>
  row.flatMap((c, k) => (c !== 0 && keep(k) ? [[c, names[k]!] as const] : []))

/**
 * Steps that set `outputs[i]` = Σₖ matrix[i][k] · inputs[k]. Neighbouring rows that agree up to signs (the rows of ±a) become sum
 * and difference of an even and an odd part; neighbouring columns that do, of the sums and differences of their inputs.
 */
export function linearSteps(matrix: Matrix, inputs: readonly string[], outputs: readonly string[]): readonly Step[] {
  const columns = pairColumns(matrix, inputs)
  return [...columns.steps, ...pairRows(columns.matrix, columns.inputs, outputs)]
}

/** The inputs that `linearSteps` of these rows never reads. */
export function unusedInputs(matrix: Matrix): ReadonlySet<number> {
  const width = matrix[0]!.length
  return new Set(Array.from({ length: width }, (_, k) => k).filter((k) => matrix.every((row) => row[k] === 0)))
}

function pairColumns(matrix: Matrix, inputs: readonly string[]) {
  const steps: Step[] = []
  const names = [...inputs]
  const rows = matrix.map((row) => [...row])
  for (let k = 0; k + 1 < inputs.length; k++) {
    const alike = rows.every((row) => equal(Math.abs(row[k]!), Math.abs(row[k + 1]!)))
    const signs = new Set(rows.filter((row) => row[k] !== 0).map((row) => Math.sign(row[k]! * row[k + 1]!)))
    if (!alike || signs.size !== 2) continue
    const [a, b] = [names[k]!, names[k + 1]!]
    steps.push({ name: `${a}_s`, terms: [[1, a], [1, b]] }, { name: `${a}_d`, terms: [[1, a], [-1, b]] }) // biome-ignore format: one pair
    names[k] = `${a}_s`
    names[k + 1] = `${a}_d`
    for (const row of rows) row[row[k]! * row[k + 1]! > 0 ? k + 1 : k] = 0
    // The difference has the sign of the first.
    for (const [i, row] of rows.entries()) if (row[k + 1] !== 0) row[k + 1] = matrix[i]![k]!
    k++
  }
  return { matrix: rows, inputs: names, steps }
}

function pairRows(matrix: Matrix, inputs: readonly string[], outputs: readonly string[]): Step[] {
  const steps: Step[] = []
  for (let i = 0; i < matrix.length; i++) {
    const [row, next] = [matrix[i]!, matrix[i + 1]]
    const name = outputs[i]!
    if (next?.every((c, k) => equal(Math.abs(c), Math.abs(row[k]!)))) {
      const same = terms(row, inputs, (k) => row[k]! * next[k]! > 0)
      const other = terms(row, inputs, (k) => row[k]! * next[k]! < 0)
      if (same.length > 0 && other.length > 0 && same.length + other.length > 2) {
        const [e, o] = [`${name}_e`, `${name}_o`]
        steps.push({ name: e, terms: same }, { name: o, terms: other })
        steps.push({ name, terms: [[1, e], [1, o]] }, { name: outputs[i + 1]!, terms: [[1, e], [-1, o]] }) // biome-ignore format: one pair
        i++
        continue
      }
    }
    steps.push({ name, terms: terms(row, inputs) })
  }
  return steps
}

/** A step as WGSL, values of type vec4<f32>. */
export function stepText({ name, terms }: Step): string {
  const text = terms.map(([c, term], i) => {
    const magnitude = Math.abs(c)
    const product = magnitude === 1 ? term : `${f32Text(magnitude)} * ${term}`
    if (i === 0) return c < 0 ? `-${product}` : product
    return `${c < 0 ? '-' : '+'} ${product}`
  })
  return `let ${name} = ${text.length > 0 ? text.join(' ') : 'vec4<f32>()'};`
}
