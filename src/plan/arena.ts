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

/**
 * Greedy by size (Pisarchyk & Lee 2020): largest first, each into the smallest gap between those already placed that live
 * at the same time, else behind them. Raises RangeError for a tensor larger than a page.
 */
export function placeBySize(tensors: readonly Lifetime[], options: ArenaOptions): ArenaLayout {
  const { alignment, pageBytes } = options
  const order = tensors.map((_, i) => i).sort((a, b) => tensors[b]!.sizeBytes - tensors[a]!.sizeBytes || a - b)
  const offsets = new Array<number>(tensors.length).fill(0)
  const placed: number[] = [] // indices, by offset
  let end = 0
  for (const index of order) {
    const tensor = tensors[index]!
    if (tensor.sizeBytes > pageBytes)
      throw new RangeError(`a tensor of ${tensor.sizeBytes} bytes in pages of ${pageBytes}`)
    let best = -1
    let bestGap = Number.POSITIVE_INFINITY
    let free = 0
    for (const other of placed) {
      const { sizeBytes, first, last } = tensors[other]!
      if (first > tensor.last || last < tensor.first) continue
      const offset = firstFit(free, tensor.sizeBytes, pageBytes)
      const gap = offsets[other]! - offset
      if (gap >= tensor.sizeBytes && gap < bestGap) {
        best = offset
        bestGap = gap
      }
      free = Math.max(free, align(offsets[other]! + sizeBytes, alignment))
    }
    const offset = best >= 0 ? best : firstFit(free, tensor.sizeBytes, pageBytes)
    offsets[index] = offset
    end = Math.max(end, offset + tensor.sizeBytes)
    insertByOffset(placed, index, offsets)
  }
  return { offsets, sizeBytes: align(end, alignment) }
}

/** The largest sum of live bytes at any step: no placement can be smaller. */
export function liveLowerBound(tensors: readonly Lifetime[]): number {
  const changes = new Map<number, number>()
  for (const { sizeBytes, first, last } of tensors) {
    changes.set(first, (changes.get(first) ?? 0) + sizeBytes)
    changes.set(last + 1, (changes.get(last + 1) ?? 0) - sizeBytes)
  }
  let live = 0
  let most = 0
  for (const step of [...changes.keys()].sort((a, b) => a - b)) {
    live += changes.get(step)!
    most = Math.max(most, live)
  }
  return most
}

function align(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

/** The first offset at or after `free` at which `size` bytes lie within one page. */
function firstFit(free: number, size: number, page: number): number {
  const room = page - (free % page)
  return size <= room ? free : free + room
}

function insertByOffset(placed: number[], index: number, offsets: readonly number[]): void {
  let at = placed.length
  while (at > 0 && offsets[placed[at - 1]!]! > offsets[index]!) at--
  placed.splice(at, 0, index)
}
