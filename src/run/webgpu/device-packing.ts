// Rearranges weights on the device: the host only reads and writes bytes, which it does several times as fast as it permutes.
import type { Device } from '../../device/device.ts'
import type { PreparedWeight } from '../../kernels/family.ts'

const lanes = 256
const usage = { staging: 0x80 | 0x08, uniform: 0x40 | 0x08 } // STORAGE | COPY_DST, UNIFORM | COPY_DST

/** Each invocation makes one 32-bit word of the target: two halves, or one float. */
function packingText(bytesPerElement: 2 | 4): string {
  const load = bytesPerElement === 2 ? '(source[index / 2u] >> (index % 2u * 16u)) & 0xffffu' : 'source[index]'
  return `struct Permutation { sizes: vec4<u32>, limits: vec4<u32>, strides: vec4<u32> }
@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
@group(0) @binding(2) var<uniform> p: Permutation;
fn element(at: u32) -> u32 {
  let place = vec3<u32>(at / (p.sizes.y * p.sizes.z), at / p.sizes.z % p.sizes.y, at % p.sizes.z);
  if (any(place >= p.limits.xyz)) { return 0u; }
  let index = dot(place, p.strides.xyz);
  return ${load};
}
@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let word = id.y * groups.x * ${lanes}u + id.x;
  if (word >= p.sizes.w) { return; }
  packed[word] = ${bytesPerElement === 2 ? 'element(word * 2u) | (element(word * 2u + 1u) << 16u)' : 'element(word)'};
}
`
}

export interface DevicePacking {
  /** Fills `target` with `elements` in the layout; queued, not awaited. */
  pack(layout: PreparedWeight, elements: Float32Array | Uint16Array, target: GPUBuffer): void
  dispose(): void
}

/** Prepares the two kernels and a staging buffer that grows to the largest weight. */
export async function devicePacking(device: Device): Promise<DevicePacking> {
  const texts = { 2: packingText(2), 4: packingText(4) } as const
  const pipelines = {
    2: await device.pipeline(texts[2], 'pack halves'),
    4: await device.pipeline(texts[4], 'pack floats'),
  } as const
  const parameters = device.buffer('permutation', 48, usage.uniform)
  let staging: GPUBuffer | undefined
  return {
    pack(layout, elements, target) {
      const { queue } = device.gpu
      const size = elements.BYTES_PER_ELEMENT as 2 | 4
      const words = Math.ceil((layout.elements * size) / 4)
      if (!staging || staging.size < elements.byteLength) {
        if (staging) device.free(staging)
        staging = device.buffer('weights on their way', elements.byteLength, usage.staging)
      }
      const { sizes, limits, strides } = layout.permutation
      queue.writeBuffer(parameters, 0, Uint32Array.from([...sizes, words, ...limits, 0, ...strides, 0]))
      writePadded(queue, staging, elements)
      const bindGroup = device.gpu.createBindGroup({
        layout: device.layout(texts[size]),
        entries: [staging, target, parameters].map((buffer, binding) => ({ binding, resource: { buffer } })),
      })
      const groups = Math.ceil(words / lanes)
      const columns = Math.min(groups, device.limits.maxComputeWorkgroupsPerDimension)
      const encoder = device.gpu.createCommandEncoder()
      const pass = encoder.beginComputePass()
      pass.setPipeline(pipelines[size])
      pass.setBindGroup(0, bindGroup)
      pass.dispatchWorkgroups(columns, Math.ceil(groups / columns))
      pass.end()
      queue.submit([encoder.finish()])
    },
    dispose() {
      device.free(parameters)
      if (staging) device.free(staging)
    },
  }
}

/** writeBuffer takes whole words: an odd number of halves is written with its last one alone. */
function writePadded(queue: GPUQueue, buffer: GPUBuffer, elements: Float32Array | Uint16Array): void {
  const even = elements.byteLength % 4 === 0
  const whole = even ? elements : elements.subarray(0, elements.length - 1)
  queue.writeBuffer(buffer, 0, whole as Float32Array<ArrayBuffer>)
  if (!even) queue.writeBuffer(buffer, whole.byteLength, Uint16Array.from([elements.at(-1)!, 0]))
}
