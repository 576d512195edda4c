// What products and convolutions by broadcast share: who may run them, the multiply-adds of a step, and the results' way out.
import type { Capabilities } from '../family.ts'
import { sizeText } from '../wgsl/number.ts'

export interface BroadcastParams {
  /** Rows of a that each lane of the subgroup loads: the tile has as many times the subgroup's lanes. */
  readonly rowsPerLane: number
  /** Groups of four columns that a lane computes. */
  readonly groups: number
}

/** CPUs, where a load is dear and a broadcast is not, with a subgroup size that is certain. */
export function broadcasts({ kind, subgroups, subgroupSize: [least, most] }: Capabilities): boolean {
  return kind === 'software' && subgroups && least === most
}

export const range = (n: number) => Array.from({ length: n }, (_, i) => i)

/** The sums of a lane: row r of the tile × its column group h. */
export const sumName = (r: number, h: number) => `s${r}_${h}`

/**
 * One step along k. `loadA(q)`: the vec4 of the lane's q-th row; `loadB(j, h)`: the lane's column group h in row j of the step.
 */
export function stepText(
  lanes: number,
  { rowsPerLane, columns }: { readonly rowsPerLane: number; readonly columns: number },
  loadA: (q: number) => string,
  loadB: (j: number, h: number) => string,
): string[] {
  const rows = range(rowsPerLane * lanes)
  return [
    ...range(rowsPerLane).map((q) => `let mine${q} = ${loadA(q)};`),
    ...rows.map((r) => `let a${r} = subgroupBroadcast(mine${Math.floor(r / lanes)}, ${r % lanes}u);`),
    ...range(4).flatMap((j) =>
      range(columns).flatMap((h) => [
        `let b${j}_${h} = ${loadB(j, h)};`,
        ...rows.map((r) => `${sumName(r, h)} += a${r}.${'xyzw'[j]} * b${j}_${h};`),
      ]),
    ),
  ]
}

/**
 * A loop that hands `finish` one result after another, `together` of them at a time; each time the others move up. Copies of
 * the epilogue would take longer to compile than all the rest.
 */
export function turnsText(results: readonly string[], together: number, finish: (i: string) => string): string {
  const moves = results.slice(together).map((result, i) => `${results[i]} = ${result};`)
  return `for (var i = 0u; i < ${sizeText(results.length / together)}; i++) {
    ${finish('i')}
    ${moves.join(' ')}
  }`
}
