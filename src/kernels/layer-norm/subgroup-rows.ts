// Rows that the lanes of a subgroup hold in registers, as text: memory is read once, sums need no barrier.
//   load → sum → mean; x − mean → sum of squares
// A workgroup is one subgroup, so nothing depends on how lanes are numbered. Needs subgroups of one certain size; loses where a
// row is so long that it fills more registers than there are.
import type { Capabilities, Operand } from '../family.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import { maskText } from './workgroup-sum.ts'

export interface SubgroupParams {
  /** Rows at a time: their loads wait for memory together. */
  readonly rows: number
}

export const subgroupTunings: readonly SubgroupParams[] = [{ rows: 1 }, { rows: 2 }, { rows: 4 }]

/** vec4s that a lane holds. */
const heldAtMost = 20

export const range = (n: number) => Array.from({ length: n }, (_, i) => i)

export interface SubgroupRows {
  /** vec4s of a row that a lane holds, one after the other. */
  readonly turns: readonly number[]
  /** The vec4 of a lane at turn i, and whether some lane has none then. */
  groupOf(i: number): string
  partial(i: number): boolean
  /** Functions that `text` calls. */
  readonly functions: string
  /** From `first`, a row that exists, to `rowR`, `xR_I`, `meanR` and `dR_I` = x − mean. Rows to spare repeat the last one. */
  readonly text: string
  /** Of the row in turn, after `text`: the mean of the squares of its d. */
  variance(row: number): string
}

/** `rows` rows of `x`, whose last is `last`. */
export function subgroupRows({ groups4, channels, rows: count }: Operand, rows: number, lanes: number): SubgroupRows {
  const turns = range(Math.ceil(groups4 / lanes))
  const groupOf = (i: number) => (i === 0 ? 'lane' : `(lane + ${u32Text(i * lanes)})`)
  const partial = (i: number) => (i + 1) * lanes > groups4
  const place = (r: number) =>
    r === 0 || count % rows === 0 ? `first + ${u32Text(r)}` : `min(first + ${u32Text(r)}, ${u32Text(count - 1)})`
  const load = (r: number, i: number) => {
    const value = `load_x(row${r}, ${partial(i) ? `min(${groupOf(i)}, ${u32Text(groups4 - 1)})` : groupOf(i)})`
    return `  let x${r}_${i} = ${partial(i) ? `select(vec4<f32>(0.0), ${value}, ${groupOf(i)} < ${u32Text(groups4)})` : value};`
  }
  const deviation = (r: number, i: number) => {
    const value = `x${r}_${i} - mean${r}`
    const masked = channels % 4 !== 0 || partial(i)
    return `  let d${r}_${i} = ${masked ? `masked(${value}, ${groupOf(i)}, 0u, ${u32Text(channels)})` : value};`
  }
  const each = (text: (r: number) => string) => range(rows).map(text).join('\n')
  const average = (terms: readonly string[]) =>
    `subgroupAdd(dot(${terms.join(' + ')}, vec4<f32>(1.0))) / ${f32Text(channels)}`
  return {
    turns,
    groupOf,
    partial,
    functions: channels % 4 !== 0 || turns.some(partial) ? maskText('masked') : '',
    text: `${each((r) => `  let row${r} = ${place(r)};`)}
${each((r) => turns.map((i) => load(r, i)).join('\n'))}
${each((r) => `  let mean${r} = ${average(turns.map((i) => `x${r}_${i}`))};`)}
${each((r) => turns.map((i) => deviation(r, i)).join('\n'))}`,
    variance: (r) => average(turns.map((i) => `d${r}_${i} * d${r}_${i}`)),
  }
}

/** Whether a row of `groups4` vec4s, `rows` at a time, fits into the registers of a subgroup of certain size. */
export function subgroupHolds(
  { subgroups, subgroupSize, limits }: Capabilities,
  groups4: number,
  rows: number,
): boolean {
  const [smallest, largest] = subgroupSize
  return (
    subgroups &&
    smallest === largest &&
    smallest <= limits.maxComputeInvocationsPerWorkgroup &&
    Math.ceil(groups4 / smallest) * rows <= heldAtMost
  )
}

export function subgroupCost(
  { kind, subgroupSize }: Capabilities,
  { groups4, rows: count }: Operand,
  rows: number,
): number {
  if (kind === 'software') return count * groups4 * 100
  const [lanes] = subgroupSize
  const waves = Math.max(1, ((count / rows) * lanes) / 262_144)
  return 2000 + waves * (240 + Math.ceil(groups4 / lanes) * rows * 60)
}
