// Numbers as people read them.

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

/** Three digits or so. */
export function milliseconds(ms: number): string {
  return `${plain(ms)} ms`
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`
}

/** A number of operations, multiply-adds or bytes with the prefix that suits it, e.g. `1.61 T`. */
export function prefixed(amount: number): string {
  const prefixes = ['', 'k', 'M', 'G', 'T'] as const
  const step = amount < 1 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log10(amount) / 3))
  const prefix = prefixes[step]!
  return `${plain(amount / 1000 ** step)} ${prefix}`.trimEnd()
}

/** Three significant digits, without an exponent. */
function plain(value: number): string {
  if (value >= 100) return value.toFixed(0)
  if (value >= 10) return value.toFixed(1)
  return value >= 0.1 || value === 0 ? value.toFixed(2) : value.toFixed(4)
}
