// Weights of products and convolutions in the layout their kernels read: [k][n/4] groups of four output channels.
import type { MatmulAttrs } from '../../ops/attrs.ts'
import type { Elements, PreparedWeight, Request } from '../family.ts'
import { problemOf } from './problem.ts'

export interface ColumnsToRows {
  /** Rows of the source. */
  readonly rows: number
  /** Columns of the source. */
  readonly columns: number
  /** Where row 0 of each column lands in the target; row r lands r elements after it. */
  readonly start: Int32Array
}

/**
 * A transpose, source[sourceAt + r·columns + j] → target[start[j] + r]. Eight rows at a time, written out: eight lines of the
 * source never collide in a cache set, whatever power of two `columns` holds, and an index is computed once for eight
 * elements. Columns in blocks of 64, so that the target's lines are still in the cache when the next eight rows come.
 */
export function transposeInto(source: Elements, sourceAt: number, target: Elements, plan: ColumnsToRows): void {
  const { rows, columns, start } = plan
  const whole = rows - (rows % 8)
  for (let j0 = 0; j0 < columns; j0 += 64) {
    const j1 = Math.min(columns, j0 + 64)
    for (let r = 0; r < whole; r += 8) {
      for (let j = j0; j < j1; j++) {
        const from = sourceAt + r * columns + j
        const to = start[j]! + r
        target[to] = source[from]!
        target[to + 1] = source[from + columns]!
        target[to + 2] = source[from + 2 * columns]!
        target[to + 3] = source[from + 3 * columns]!
        target[to + 4] = source[from + 4 * columns]!
        target[to + 5] = source[from + 5 * columns]!
        target[to + 6] = source[from + 6 * columns]!
        target[to + 7] = source[from + 7 * columns]!
      }
    }
    for (let r = whole; r < rows; r++) {
      for (let j = j0; j < j1; j++) target[start[j]! + r] = source[sourceAt + r * columns + j]!
    }
  }
}

/** Weight b of a product: [k padded to 4][halves][n4·4], zero beyond k and n. */
export function packMatrix(request: Request<MatmulAttrs>): PreparedWeight {
  const { n, n4, k, k4, halves } = problemOf(request)
  const { transposeB } = request.attrs
  const rowLength = halves * n4 * 4
  const elements = k4 * 4 * rowLength
  return {
    key: `matmul-kn4:${transposeB ? 'nk' : 'kn'}:${n}x${k}x${halves}`,
    elements,
    permutation: {
      sizes: [k4 * 4, halves, n4 * 4],
      limits: [k, halves, n],
      strides: transposeB ? [1, n * k, k] : [halves * n, n, 1],
    },
    pack(source, target) {
      if (n % 4 !== 0 || k % 4 !== 0) target.fill(0)
      for (let half = 0; half < halves; half++) {
        if (transposeB) {
          const start = Int32Array.from({ length: k }, (_, j) => j * rowLength + half * n4 * 4)
          transposeInto(source, half * n * k, target, { rows: n, columns: k, start })
          continue
        }
        for (let j = 0; j < k; j++) {
          const from = (j * halves + half) * n
          target.set(source.subarray(from, from + n), j * rowLength + half * n4 * 4)
        }
      }
    },
  }
}

/** Bias of a gated product whose halves do not begin at a group of four: [2][n4·4]. */
export function packGateBias(n: number): PreparedWeight {
  const padded = Math.ceil(n / 4) * 4
  return {
    key: `matmul-gate-bias:${n}`,
    elements: 2 * padded,
    permutation: { sizes: [1, 2, padded], limits: [1, 2, n], strides: [0, n, 1] },
    pack(source, target) {
      target.fill(0)
      target.set(source.subarray(0, n), 0)
      target.set(source.subarray(n, 2 * n), padded)
    },
  }
}

/** `prepare` of every variant of the family. */
export function prepareMatmul(request: Request<MatmulAttrs>, index: number): PreparedWeight | undefined {
  if (request.inputs[index]!.space !== 'weight') return undefined
  if (index === 1) return packMatrix(request)
  const { n, halves, bias } = problemOf(request)
  return bias && index === 2 && halves === 2 && n % 4 !== 0 ? packGateBias(n) : undefined
}
