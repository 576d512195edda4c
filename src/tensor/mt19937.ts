// The Mersenne Twister, as a stream of 32-bit words: the generator behind torch's CPU noise.

const words = 624
const shifted = 397

/** Matsumoto & Nishimura 1998, MT19937 with `init_genrand`; only the seed's low 32 bits count. Returns the next word. */
export function mt19937(seed: number): () => number {
  const state = new Uint32Array(words)
  state[0] = seed
  for (let i = 1; i < words; i++) {
    const last = state[i - 1]!
    state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i
  }
  let position = words
  return () => {
    if (position === words) {
      twist(state)
      position = 0
    }
    let word = state[position++]!
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    return (word ^ (word >>> 18)) >>> 0
  }
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < words; i++) {
    const mixed = (state[i]! & 0x80000000) | (state[(i + 1) % words]! & 0x7fffffff)
    state[i] = state[(i + shifted) % words]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0)
  }
}
