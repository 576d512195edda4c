// Places intermediates in the arena: offsets for tensors whose lifetimes are known. Knows nothing of kernels or devices.

export interface Lifetime {
  readonly sizeBytes: number
  /** First and last step (inclusive) at which the tensor holds its value. */
  readonly first: number
  readonly last: number
}

export interface ArenaLayout {
  /** One for each tensor, in bytes from the start of the arena. */
  readonly offsets: readonly number[]
  /** End of the last tensor. */
  readonly sizeBytes: number
}

export interface ArenaOptions {
  /** Offsets are multiples of this: WebGPU's default minStorageBufferOffsetAlignment is 256. */
  readonly alignment: number
  /** The arena consists of buffers of this size; no tensor crosses from one to the next. */
  readonly pageBytes: number
}

type Compare = (a: Lifetime, b: Lifetime) => number

const span = ({ first, last }: Lifetime) => last - first + 1

/** In which order tensors get their places: none is best for all graphs (Pisarchyk & Lee 2020, "greedy by size" and others). */
const orders: readonly Compare[] = [
  (a, b) => b.sizeBytes - a.sizeBytes,
  (a, b) => b.sizeBytes - a.sizeBytes || span(b) - span(a),
  (a, b) => b.sizeBytes * span(b) - a.sizeBytes * span(a),
  (a, b) => a.first - b.first || b.last - a.last,
  (a, b) => span(b) - span(a) || b.sizeBytes - a.sizeBytes,
  (a, b) => Math.log2(span(b)) + Math.log2(b.sizeBytes) / 2 - Math.log2(span(a)) - Math.log2(a.sizeBytes) / 2,
]

/** Beyond so many tensors the first layout that wastes nothing is taken. */
const comparedTensors = 2000

/**
 * The best of several greedy layouts: tensors in some order, each into the smallest gap between those already placed that live
 * at the same time, else behind them. The smallest is best, and of those that are as small, or fit into `roomBytes`, the one of
 * least cost, then the one that leaves most room at the end. Raises RangeError for a tensor larger than a page.
 * @param costOf what it costs that kernels' scratch has to do with what a layout leaves free
 */
export function placeTensors(
  tensors: readonly Lifetime[],
  options: ArenaOptions & { readonly roomBytes?: number | undefined },
  costOf: (layout: ArenaLayout) => number = () => 0,
): ArenaLayout {
  const { alignment, roomBytes = 0 } = options
  const least = Math.ceil(liveLowerBound(tensors) / alignment) * alignment
  const atPeak = peakStep(tensors)
  const lives = ({ first, last }: Lifetime) => (first <= atPeak && atPeak <= last ? 1 : 0)
  const layouts: ArenaLayout[] = []
  // What lives at the peak comes first, too: nothing else may then take its room.
  for (const order of [...orders, (a: Lifetime, b: Lifetime) => lives(b) - lives(a) || b.sizeBytes - a.sizeBytes]) {
    const layout = placeInOrder(tensors, order, options)
    if (!layouts.some((each) => isSame(each, layout))) layouts.push(layout)
    if (layout.sizeBytes <= least && tensors.length > comparedTensors) break
  }
  const smallest = layouts.reduce((size, { sizeBytes }) => Math.min(size, sizeBytes), Number.POSITIVE_INFINITY)
  const fitting = layouts.filter(({ sizeBytes }) => sizeBytes <= Math.max(smallest, roomBytes))
  if (fitting.length === 1) return fitting[0]!
  const ranked = fitting.map((layout) => ({ layout, cost: costOf(layout), ends: sumOfEnds(tensors, layout) }))
  return ranked.sort((a, b) => a.cost - b.cost || a.ends - b.ends)[0]!.layout
}

function isSame(a: ArenaLayout, b: ArenaLayout): boolean {
  return a.offsets.every((offset, i) => offset === b.offsets[i])
}

/** Over all steps, where the last tensor that lives then ends. */
function sumOfEnds(tensors: readonly Lifetime[], { offsets }: ArenaLayout): number {
  const ends: number[] = []
  for (const [i, { sizeBytes, first, last }] of tensors.entries())
    for (let step = first; step <= last; step++) ends[step] = Math.max(ends[step] ?? 0, offsets[i]! + sizeBytes)
  return ends.reduce((sum, end) => sum + end, 0)
}

function placeInOrder(tensors: readonly Lifetime[], compare: Compare, options: ArenaOptions): ArenaLayout {
  const { alignment, pageBytes } = options
  const order = tensors.map((_, i) => i).sort((a, b) => compare(tensors[a]!, tensors[b]!) || a - b)
  const offsets = new Array<number>(tensors.length).fill(0)
  const placed = new PlacedTensors(tensors, offsets)
  let end = 0
  for (const index of order) {
    const { sizeBytes } = tensors[index]!
    if (sizeBytes > pageBytes) throw new RangeError(`a tensor of ${sizeBytes} bytes in pages of ${pageBytes}`)
    let best = -1
    let bestGap = Number.POSITIVE_INFINITY
    let free = 0
    for (const other of placed.besides(index)) {
      const offset = firstFit(free, sizeBytes, pageBytes)
      const gap = offsets[other]! - offset
      if (gap >= sizeBytes && gap < bestGap) {
        best = offset
        bestGap = gap
      }
      free = Math.max(free, align(offsets[other]! + tensors[other]!.sizeBytes, alignment))
    }
    const offset = best >= 0 ? best : firstFit(free, sizeBytes, pageBytes)
    offsets[index] = offset
    end = Math.max(end, offset + sizeBytes)
    placed.add(index)
  }
  return { offsets, sizeBytes: align(end, alignment) }
}

/** Placed tensors by the stretches of time that they live in, so that the thousands of a banded graph need not all be looked at. */
class PlacedTensors {
  private readonly tensors: readonly Lifetime[]
  private readonly offsets: readonly number[]
  private readonly stretch: number
  private readonly byStretch: number[][]
  private readonly seen: Int32Array

  constructor(tensors: readonly Lifetime[], offsets: readonly number[]) {
    this.tensors = tensors
    this.offsets = offsets
    const steps = tensors.reduce((most, { last }) => Math.max(most, last + 1), 1)
    this.stretch = Math.max(1, Math.ceil(steps / 1024))
    this.byStretch = Array.from({ length: Math.ceil(steps / this.stretch) }, () => [])
    this.seen = new Int32Array(tensors.length).fill(-1)
  }

  add(index: number): void {
    for (const stretch of this.stretchesOf(index)) stretch.push(index)
  }

  /** Those that live at the same time as tensor `index`, by offset. */
  besides(index: number): number[] {
    const { first, last } = this.tensors[index]!
    const found: number[] = []
    for (const stretch of this.stretchesOf(index))
      for (const other of stretch) {
        if (this.seen[other] === index) continue
        this.seen[other] = index
        const tensor = this.tensors[other]!
        if (tensor.first <= last && first <= tensor.last) found.push(other)
      }
    return found.sort((a, b) => this.offsets[a]! - this.offsets[b]! || a - b)
  }

  private stretchesOf(index: number): number[][] {
    const { first, last } = this.tensors[index]!
    return this.byStretch.slice(Math.floor(first / this.stretch), Math.floor(last / this.stretch) + 1)
  }
}

/** What a layout leaves free at each step: room for what lives during one step alone. */
export class FreeSpace {
  private readonly alive: { readonly offset: number; readonly end: number }[][] = []
  private readonly options: ArenaOptions

  constructor(tensors: readonly Lifetime[], { offsets }: ArenaLayout, options: ArenaOptions) {
    this.options = options
    const order = tensors.map((_, i) => i).sort((a, b) => offsets[a]! - offsets[b]!)
    for (const index of order) {
      const { sizeBytes, first, last } = tensors[index]!
      const place = { offset: offsets[index]!, end: align(offsets[index]! + sizeBytes, options.alignment) }
      for (let step = first; step <= last; step++) {
        const there = this.alive[step]
        if (there) there.push(place)
        else this.alive[step] = [place]
      }
    }
  }

  /** Offsets for tensors of these sizes beside each other, each at the first place where it fits, and the end of the last. */
  fit(step: number, sizes: readonly number[]): { readonly offsets: readonly number[]; readonly end: number } {
    const { alignment, pageBytes } = this.options
    const taken = [...(this.alive[step] ?? [])]
    let last = 0
    const offsets = sizes.map((size) => {
      let free = 0
      let at = 0
      for (; at < taken.length; at++) {
        if (firstFit(free, size, pageBytes) + size <= taken[at]!.offset) break
        free = Math.max(free, taken[at]!.end)
      }
      const offset = firstFit(free, size, pageBytes)
      const end = align(offset + size, alignment)
      taken.splice(at, 0, { offset, end })
      last = Math.max(last, end)
      return offset
    })
    return { offsets, end: last }
  }
}

/** The largest sum of live bytes at any step: no placement can be smaller. */
export function liveLowerBound(tensors: readonly Lifetime[]): number {
  return peakOf(tensors).bytes
}

function peakStep(tensors: readonly Lifetime[]): number {
  return peakOf(tensors).step
}

function peakOf(tensors: readonly Lifetime[]): { step: number; bytes: number } {
  const changes = new Map<number, number>()
  for (const { sizeBytes, first, last } of tensors) {
    changes.set(first, (changes.get(first) ?? 0) + sizeBytes)
    changes.set(last + 1, (changes.get(last + 1) ?? 0) - sizeBytes)
  }
  let live = 0
  const peak = { step: 0, bytes: 0 }
  for (const step of [...changes.keys()].sort((a, b) => a - b)) {
    live += changes.get(step)!
    if (live > peak.bytes) Object.assign(peak, { step, bytes: live })
  }
  return peak
}

function align(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

/** The first offset at or after `free` at which `size` bytes lie within one page. */
function firstFit(free: number, size: number, page: number): number {
  const room = page - (free % page)
  return size <= room ? free : free + room
}
