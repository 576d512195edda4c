// Mean and variance as normalisations use them, in f64, with a first-order bound on rounding.

export interface Moments {
  readonly mean: number
  /** 1 / √(variance + epsilon). */
  readonly rstd: number
  /** Mean of |x|: the bound of the mean's error. */
  readonly meanAbs: number
  /** Bound of the relative error of `rstd`. */
  readonly relative: number
  /** Bound of the error of (x − mean) · rstd, in units of the arithmetic's epsilon. */
  errorOf(x: number): number
}

/**
 * The biased moments of `values`. With δ(x − mean) ≤ |x| + mean|x|, the variance is off by
 * 2 · mean(|x − mean| · (|x| + mean|x|)) and rstd by half of that, relative to the variance.
 */
export function momentsOf(values: Float64Array, epsilon: number): Moments {
  let [sum, sumAbs] = [0, 0]
  for (const x of values) {
    sum += x
    sumAbs += Math.abs(x)
  }
  const [mean, meanAbs] = [sum / values.length, sumAbs / values.length]
  let [squares, drift] = [0, 0]
  for (const x of values) {
    squares += (x - mean) ** 2
    drift += Math.abs(x - mean) * (Math.abs(x) + meanAbs)
  }
  const variance = squares / values.length + epsilon
  const rstd = 1 / Math.sqrt(variance)
  const relative = 1 + drift / values.length / variance
  const errorOf = (x: number) => rstd * (Math.abs(x) + meanAbs + Math.abs(x - mean) * relative)
  return { mean, rstd, meanAbs, relative, errorOf }
}
