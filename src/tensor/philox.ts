// Philox4x32-10, the counter-based generator of CUDA: words depend on (counter, key) alone, so elements are independent.

/** High 32 bits of a product of 32-bit words, in 16-bit pieces because numbers are exact only up to 2⁵³. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16]
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const cross = aLow * bHigh + (middle & 0xffff)
  return (aHigh * bHigh + (middle >>> 16) + (cross >>> 16)) >>> 0
}

/**
 * Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", ten rounds.
 * `counter` (4 words) becomes the random words in place; `key` is left as it is.
 */
export function philox4x32(counter: Uint32Array, key: readonly [low: number, high: number]): void {
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const [c0, c1, c2, c3] = [counter[0]!, counter[1]!, counter[2]!, counter[3]!]
    counter[0] = multiplyHigh(0xcd9e8d57, c2) ^ c1 ^ k0
    counter[1] = Math.imul(0xcd9e8d57, c2)
    counter[2] = multiplyHigh(0xd2511f53, c0) ^ c3 ^ k1
    counter[3] = Math.imul(0xd2511f53, c0)
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
}
