// The little algebra with which the samplers' formulas are written: rows are vectors, papers' equations are sums of them.
import type { Row, Update } from './stage.ts'

/** Σ weight · row. Parts of weight 0 vanish, so 0 · ∞ cannot arise from a term that a formula switches off. */
export function combine(...parts: readonly (readonly [weight: number, row: Row])[]): Row {
  const sum: Record<string, number> = {}
  for (const [weight, row] of parts) {
    if (weight === 0) continue
    for (const [name, coefficient] of Object.entries(row)) {
      if (coefficient !== 0) sum[name] = (sum[name] ?? 0) + weight * coefficient
    }
  }
  return sum
}

/** weight · (a − b) */
export function difference(weight: number, a: Row, b: Row): Row {
  return combine([weight, a], [-weight, b])
}

/** The row that is one slot (or input) itself. */
export function only(name: string): Row {
  return { [name]: 1 }
}

/** Updates that move a history on: slots[0] ← newest, slots[1] ← slots[0], … */
export function pushHistory(slots: readonly string[], newest: Row): Update[] {
  return slots.map((slot, i) => ({ slot, terms: i === 0 ? newest : only(slots[i - 1]!) }))
}
