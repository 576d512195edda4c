// Winograd's transforms for 3×3 kernels, by Toom and Cook: matrices from interpolation points, in f64 (√2 has no exact form).
//   The product of polynomials g (3 coefficients) and u (m coefficients) has t = m + 2 of them. It is known from its values at
//   t − 1 points aⱼ and its leading coefficient (the point ∞): interpolate(evaluate(g) ⊙ evaluate(u)). A correlation
//   yᵢ = Σₖ gₖ d₍ᵢ₊ₖ₎ is the transpose of that product in u, so y = Aᵀ[(G g) ⊙ (Bᵀ d)] with
//     Aᵀ = evaluation of u, transposed: Aᵀ[i][j] = aⱼⁱ; at ∞ only the last coefficient
//     G  = evaluation of g, over fⱼ = Π₍ₗ≠ⱼ₎(aⱼ − aₗ): G[j][k] = aⱼᵏ / fⱼ; at ∞ only the last
//     Bᵀ = interpolation, transposed: row j holds the coefficients of Π₍ₗ≠ⱼ₎(x − aₗ); at ∞ of Π(x − aₗ)
//   (L. Toom 1963, S. Cook 1966; S. Winograd 1980; A. Lavin, S. Gray 2015, arXiv:1509.09308.) In two dimensions both ways.

/** Side of a tile of results: F(m×m, 3×3). */
export type TileSize = 2 | 4 | 6 | 8

/** 'integers': small integers and their reciprocals, as in textbooks; 'roots': with √2, nearer to 1 or better spread. */
export type PointSet = 'integers' | 'roots'

/**
 * The finite points: 0, then pairs ±a, so that rows of a pair share their even and odd parts. ∞ is appended. F(2×2) needs one
 * pair only, and 1 is the best there is. The roots of F(8×8) amplify least among all fours of ¼ … 4 in thirds, halves,
 * quarters and their multiples of √2; F(6×6) is better off with its integers (docs/winograd.md has the errors).
 */
export const finitePoints: Readonly<Record<TileSize, Partial<Readonly<Record<PointSet, readonly number[]>>>>> = {
  2: { integers: pairs(1) },
  4: { integers: pairs(1, 2), roots: pairs(Math.SQRT1_2, Math.SQRT2) },
  6: { integers: pairs(1, 2, 1 / 2), roots: pairs(1, Math.SQRT1_2, Math.SQRT2) },
  8: { integers: pairs(1, 2, 1 / 2, 4), roots: pairs(Math.SQRT2 / 4, 3 / 4, 4 / 3, 2 * Math.SQRT2) },
}

export type Matrix = readonly (readonly number[])[]

export interface Transforms {
  /** Side of a tile of results, and of a tile of inputs and of products. */
  readonly m: number
  readonly t: number
  /** [t][t]: inputs to the transformed domain. */
  readonly bt: Matrix
  /** [t][3]: weights. */
  readonly g: Matrix
  /** [m][t]: products to results. */
  readonly at: Matrix
}

function pairs(...positive: readonly number[]): readonly number[] {
  return [0, ...positive.flatMap((a) => [a, -a])]
}

/** Coefficients, lowest power first, of Π (x − a) over `roots`. */
function polynomial(roots: readonly number[]): number[] {
  let result = [1]
  for (const root of roots) {
    const shifted = [0, ...result]
    result = shifted.map((value, i) => value - root * (result[i] ?? 0))
  }
  return result
}

/** Without the noise of the last bits: what is 0, 1 or ½ in theory is so in the matrices, and costs no multiplication. */
const tidy = (matrix: Matrix): Matrix =>
  matrix.map((row) => row.map((value) => (Math.abs(value) < 1e-12 ? 0 : Number(value.toPrecision(14)))))

/** The transforms of F(m×m, 3×3) for t − 1 = m + 1 distinct finite points and ∞. */
export function toomCook(m: number, finite: readonly number[]): Transforms {
  const t = m + 2
  const others = finite.map((_, j) => finite.filter((_, l) => l !== j))
  const powers = (a: number, count: number) => Array.from({ length: count }, (_, i) => a ** i)
  const last = (length: number) => Array.from({ length }, (_, i) => (i === length - 1 ? 1 : 0))
  const columns = [...finite.map((a) => powers(a, m)), last(m)]
  return {
    m,
    t,
    bt: tidy([...others.map((roots) => [...polynomial(roots), 0]), polynomial(finite)]),
    g: tidy([
      ...finite.map((a, j) => {
        const f = others[j]!.reduce((product, b) => product * (a - b), 1)
        return powers(a, 3).map((power) => power / f)
      }),
      last(3),
    ]),
    at: tidy(Array.from({ length: m }, (_, i) => columns.map((column) => column[i]!))),
  }
}

/**
 * How much larger errors come out than those of a direct sum, as an RMS: each product in the transformed domain carries its own,
 * in proportion to its size, so theirs add up in squares. In two dimensions; direct would be 1 (nine terms: 3 · 3).
 */
export function amplification({ m, bt, g, at }: Transforms): number {
  const squares = (row: readonly number[]) => row.reduce((sum, value) => sum + value * value, 0)
  const each = at.map((row) => row.reduce((sum, a, j) => sum + a * a * squares(g[j]!) * squares(bt[j]!), 0))
  // The mean over a row of results, over the three terms of a direct one: a variance in one dimension, a deviation in two.
  return each.reduce((sum, value) => sum + value, 0) / m / 3
}

/** Of each tile size with the points that err least (docs/winograd.md). */
export const bestTransforms: Readonly<Record<TileSize, Transforms>> = {
  2: toomCook(2, finitePoints[2].integers!),
  4: toomCook(4, finitePoints[4].roots!),
  6: toomCook(6, finitePoints[6].integers!),
  8: toomCook(8, finitePoints[8].roots!),
}
