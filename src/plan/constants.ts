// The numbers that kernels read from data, of all kernels of a plan: each list once, in one buffer.
import { bindingAlignment } from './requests.ts'

const slotWords = bindingAlignment / 4

export class ConstantList {
  private readonly words: number[] = []
  private readonly known = new Map<string, number>()

  /** Where in the buffer `values` (u32s) lie. */
  rangeOf(values: readonly number[]): { readonly offset: number; readonly bytes: number } {
    const key = values.join()
    const start = this.known.get(key) ?? this.words.length
    if (!this.known.has(key)) {
      this.known.set(key, start)
      this.words.push(...values)
      while (this.words.length % slotWords !== 0) this.words.push(0)
    }
    return { offset: start * 4, bytes: values.length * 4 }
  }

  all(): Uint32Array<ArrayBuffer> {
    return Uint32Array.from(this.words)
  }
}
