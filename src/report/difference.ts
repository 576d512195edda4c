/** Root mean square of the difference of the results, relative to the wanted ones. */
export function relativeDifference(
  got: Readonly<Record<string, Float32Array>>,
  wanted: Readonly<Record<string, Float32Array>>,
): number {
  let [error, norm] = [0, 0]
  for (const [name, values] of Object.entries(wanted))
    for (const [i, value] of values.entries()) {
      error += (got[name]![i]! - value) ** 2
      norm += value ** 2
    }
  return Math.sqrt(error / norm)
}
