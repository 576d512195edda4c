// Workgroup counts beyond one dimension's limit: n workgroups over x, y, z, and the text that numbers them again.
import type { Limits } from '../family.ts'
import { sizeText } from './number.ts'

export interface Grid {
  readonly workgroups: readonly [number, number, number]
  /** The workgroup's number, an expression of `wid` (the @builtin(workgroup_id) vec3<u32>). */
  readonly index: string
  /** Whether x·y·z exceeds n, so that numbers ≥ n occur and must be turned away. */
  readonly overshoots: boolean
}

/** Spreads n workgroups over the dimensions, with as few to spare as the limit allows. */
export function splitGrid(n: number, limits: Limits): Grid {
  const max = limits.maxComputeWorkgroupsPerDimension
  if (n <= max) return { workgroups: [n, 1, 1], index: 'wid.x', overshoots: false }
  const planes = Math.ceil(n / (max * max))
  const rows = Math.ceil(Math.ceil(n / planes) / max)
  const columns = Math.ceil(n / (planes * rows))
  const row = planes === 1 ? 'wid.y' : `(wid.z * ${sizeText(rows)} + wid.y)`
  return {
    workgroups: [columns, rows, planes],
    index: `(${row} * ${sizeText(columns)} + wid.x)`,
    overshoots: columns * rows * planes > n,
  }
}
