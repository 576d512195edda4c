// The inverse of the Beta(a, a) distribution function, for beta sigmas.

/** ∫₀ˣ t^(a−1) (1−t)^(a−1) dt by the series of (1−t)^(a−1); x in [0, ½], where terms fall at least as 2^−k. */
function incompleteBeta(x: number, a: number): number {
  let [sum, coefficient] = [0, 1]
  for (let k = 0; k < 60; k++) {
    sum += (coefficient * x ** k) / (a + k)
    coefficient *= (k + 1 - a) / (k + 1)
  }
  return x ** a * sum
}

/** x with P(X ≤ x) = p for X ~ Beta(a, a). The lower half's mass is ½ by symmetry, so no gamma function is needed. */
export function symmetricBetaQuantile(p: number, a: number): number {
  if (p > 0.5) return 1 - symmetricBetaQuantile(1 - p, a)
  const wanted = 2 * p * incompleteBeta(0.5, a)
  let [low, high] = [0, 0.5]
  for (let bit = 0; bit < 64; bit++) {
    const middle = (low + high) / 2
    if (incompleteBeta(middle, a) < wanted) low = middle
    else high = middle
  }
  return high
}
