// Weights for adapters that compute on the host's cores: the host converts and rearranges them itself. Everything large lies in
// mapped buffers, which are freed when they are done with, and not when a garbage collector notices.
import type { Device } from '../../device/device.ts'
import { toFloat32 } from '../../tensor/convert.ts'
import { bytesPerElement, f32ToF16, type StorageDType } from '../../tensor/dtype.ts'
import { throwIfAborted } from '../aborted.ts'
import { type Incoming, type IncomingDType, type UploadOptions, uploading } from './incoming.ts'

type Elements = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>

/** Elements that are converted at a time. */
const blockElements = 65536

/** Fills `targets[i]` with `weights[i]`: one is packed while the next is read. Raises as `mappedUpload` does. */
export async function packedUpload(
  device: Device,
  weights: readonly Incoming[],
  targets: readonly GPUBuffer[],
  { dtype, signal, onWeight }: UploadOptions,
): Promise<void> {
  const size = dtype === 'f16' ? 2 : 4
  const most = (bytesOf: (weight: Incoming) => number) => weights.reduce((max, each) => Math.max(max, bytesOf(each)), 0)
  const read = most(({ byteLength }) => byteLength)
  const converted = most((each) => (isStored(each.dtype, dtype) ? 0 : countOf(each) * size))
  const packed = most(({ weight }) => weight.bytes)
  const buffers = await device.allocate('weights on their way', uploading.usage, [
    { label: 'a weight as it is read', bytes: read },
    { label: 'the next weight', bytes: read },
    { label: 'a weight, converted', bytes: converted },
    { label: 'a weight, packed', bytes: packed },
  ])
  const outgoing = buffers[3]!
  let next: Promise<void> | undefined
  try {
    const memory: ArrayBuffer[] = []
    for (const buffer of buffers.slice(0, 3)) {
      await buffer.mapAsync(uploading.mapMode)
      memory.push(buffer.getMappedRange())
    }
    const begin = (i: number) => {
      next = weights[i]?.fill(0, new Uint8Array(memory[i % 2]!, 0, weights[i].byteLength))
      next?.catch(() => {}) // raised when its turn comes, unless another fails first
    }
    begin(0)
    for (const [i, weight] of weights.entries()) {
      throwIfAborted(signal)
      await next
      begin(i + 1)
      await outgoing.mapAsync(uploading.mapMode)
      const into = outgoing.getMappedRange()
      if (weight.dtype === 'packed') new Uint8Array(into).set(new Uint8Array(memory[i % 2]!, 0, weight.byteLength))
      else pack(weight, stored(weight, weight.dtype, memory[i % 2]!, dtype, memory[2]!), into)
      outgoing.unmap()
      const encoder = device.gpu.createCommandEncoder()
      encoder.copyBufferToBuffer(outgoing, 0, targets[i]!, 0, weight.weight.bytes)
      device.gpu.queue.submit([encoder.finish()])
      onWeight(i)
    }
  } finally {
    await next?.catch(() => {}) // it writes into mapped memory, which must outlive it
    for (const buffer of buffers) device.free(buffer)
  }
  await device.settle()
}

function pack({ weight: { layout } }: Incoming, elements: Elements, into: ArrayBuffer): void {
  const target =
    elements instanceof Float32Array
      ? new Float32Array(into, 0, layout.elements)
      : new Uint16Array(into, 0, layout.elements)
  if (layout.elements !== elements.length) target.fill(0) // padding: the weight before lies there
  layout.pack(elements, target)
}

/** The weight's elements as they are stored: where they were read if that is their type there, else converted into `scratch`. */
function stored(
  weight: Incoming,
  from: IncomingDType,
  source: ArrayBuffer,
  to: StorageDType,
  scratch: ArrayBuffer,
): Elements {
  const count = countOf(weight)
  const into = isStored(from, to) ? source : scratch
  const elements = to === 'f16' ? new Uint16Array(into, 0, count) : new Float32Array(into, 0, count)
  if (into === source) return elements
  const size = bytesPerElement[from]
  for (let start = 0; start < count; start += blockElements) {
    const end = Math.min(count, start + blockElements)
    const floats = toFloat32(new Uint8Array(source, start * size, (end - start) * size), from)
    if (elements instanceof Uint16Array) f32ToF16(floats, elements.subarray(start, end))
    else elements.set(floats, start)
  }
  return elements
}

function countOf({ byteLength, dtype }: Incoming): number {
  return dtype === 'packed' ? 0 : byteLength / bytesPerElement[dtype]
}

function isStored(from: Incoming['dtype'], to: StorageDType): boolean {
  return from === (to === 'f16' ? 'F16' : 'F32')
}
