// What a row of measurements says.

export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** Of at least one number; the upper one of two in the middle. */
export function summarise(numbers: readonly number[]): Summary {
  const sorted = numbers.toSorted((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)]!, least: sorted[0]!, most: sorted.at(-1)! }
}
