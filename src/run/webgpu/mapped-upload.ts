// Weights through mapped memory: files are read straight into staging buffers, several reads at a time, and the device does the
// rest. The host holds the staging buffers and nothing else.
import type { Device } from '../../device/device.ts'
import { throwIfAborted } from '../aborted.ts'
import { devicePacking, isPlain } from './device-packing.ts'
import { type Incoming, type UploadOptions, uploading } from './incoming.ts'

/** While one staging buffer travels, the others are filled. */
const staging = { buffers: 3, bytes: 32 * 1024 * 1024 } as const
/** Tensors start at multiples of this within a staging buffer. */
const alignment = 256

/** A part of a weight and its place in a staging buffer. */
interface Piece {
  readonly index: number
  readonly offset: number
  readonly length: number
  readonly place: number
  readonly last: boolean
}

/** Fills `targets[i]` with `weights[i]`. Raises what reading raises, 'aborted' and 'device/lost'. */
export async function mappedUpload(
  device: Device,
  weights: readonly Incoming[],
  targets: readonly GPUBuffer[],
  { dtype, signal, onWeight }: UploadOptions,
): Promise<void> {
  const packed = weights.map(({ dtype: from, byteLength, weight: { layout } }, i) =>
    from === 'packed' ? undefined : { from, sourceBytes: byteLength, layout, target: targets[i]! },
  )
  const rearranged = packed.flatMap((each, i) => (!each || isPlain(each, dtype) ? [] : [i]))
  const rank = new Map(rearranged.map((index, at) => [index, at]))
  const packing = await devicePacking(
    device,
    rearranged.map((index) => packed[index]!),
    dtype,
  )
  const loads = loadsOf(weights.map(({ byteLength }) => byteLength))
  const buffers: GPUBuffer[] = []
  const reading: Promise<unknown>[] = []

  const hand = (load: readonly Piece[], from: GPUBuffer) => {
    const encoder = device.gpu.createCommandEncoder()
    for (const { index, offset, length, place, last } of load) {
      const at = rank.get(index)
      const to = at === undefined ? targets[index]! : packing.source
      encoder.copyBufferToBuffer(from, place, to, offset, Math.ceil(length / 4) * 4)
      if (at !== undefined && last) packing.encode(encoder, at)
    }
    device.gpu.queue.submit([encoder.finish()])
    for (const { index, last } of load) if (last) onWeight(index)
  }

  try {
    const sizes = loads.slice(0, staging.buffers).map((_, slot) => ({
      label: `staging ${slot}`,
      bytes: Math.max(...loads.filter((_, i) => i % staging.buffers === slot).map(endOf)),
    }))
    buffers.push(...(await device.allocate('weights on their way', uploading.usage, sizes)))
    const mapped = buffers.map((buffer) => buffer.mapAsync(uploading.mapMode))
    let handed: Promise<void> = Promise.resolve()
    for (const [i, load] of loads.entries()) {
      const slot = i % buffers.length
      const buffer = buffers[slot]!
      await mapped[slot]
      throwIfAborted(signal)
      const memory = buffer.getMappedRange()
      const fills = load.map(({ index, offset, length, place }) =>
        weights[index]!.fill(offset, new Uint8Array(memory, place, length)),
      )
      reading.push(...fills)
      handed = Promise.all([handed, ...fills]).then(() => {
        device.assertAlive()
        buffer.unmap()
        hand(load, buffer)
      })
      mapped[slot] = handed.then(() => buffer.mapAsync(uploading.mapMode))
      for (const promise of [handed, mapped[slot]]) promise.catch(() => {}) // raised where it is awaited
    }
    await handed
    await device.settle()
  } finally {
    // Reads write into mapped memory: it must outlive them.
    await Promise.allSettled(reading)
    for (const buffer of buffers) device.free(buffer)
    packing.dispose()
  }
}

/** Cuts weights of these sizes into what fits a staging buffer, in order. */
function loadsOf(sizes: readonly number[]): readonly (readonly Piece[])[] {
  const loads: Piece[][] = []
  let end = staging.bytes // of the last load
  for (const [index, size] of sizes.entries()) {
    for (let offset = 0; offset < size; ) {
      if (end >= staging.bytes) {
        loads.push([])
        end = 0
      }
      const length = Math.min(size - offset, staging.bytes - end)
      loads.at(-1)!.push({ index, offset, length, place: end, last: offset + length === size })
      end = Math.ceil((end + length) / alignment) * alignment
      offset += length
    }
  }
  return loads
}

/** Whole words: what copies move. */
function endOf(load: readonly Piece[]): number {
  const { place, length } = load.at(-1)!
  return Math.ceil((place + length) / 4) * 4
}
