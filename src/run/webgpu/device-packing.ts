// Converts and rearranges weights on the device: the host only moves bytes, which it does many times as fast as it works on them.
import type { Device } from '../../device/device.ts'
import type { PreparedWeight } from '../../kernels/family.ts'
import type { StorageDType } from '../../tensor/dtype.ts'
import type { IncomingDType } from './incoming.ts'

const lanes = 256
const usage = 0x80 | 0x40 | 0x08 // STORAGE | UNIFORM | COPY_DST
/** Uniform bindings start at multiples of this on every device. */
const parametersStride = 256

/** The bits of element `index` of the source. */
const loads: Readonly<Record<IncomingDType, string>> = {
  F32: 'source[index]',
  F16: '(source[index / 2u] >> (index % 2u * 16u)) & 0xffffu',
  BF16: '(source[index / 2u] >> (index % 2u * 16u)) & 0xffffu',
}

/** From those bits to the bits that are stored. In integers: WGSL leaves rounding and denormals of float conversions open. */
const conversions: Readonly<Record<StorageDType, Readonly<Record<IncomingDType, string>>>> = {
  f32: { F32: 'bits', F16: 'widened(bits)', BF16: 'bits << 16u' },
  f16: { F32: 'halved(bits)', F16: 'bits', BF16: 'halved(bits << 16u)' },
}

/** The half nearest to a float (ties to even), as tensor/dtype.ts rounds. */
const halved = `fn halved(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  let mantissa = bits & 0x7fffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u | (mantissa >> 13u); }
  if (magnitude >= 0x47800000u) { return sign | 0x7c00u; }
  if (magnitude >= 0x38800000u) {
    let rebased = magnitude - 0x38000000u;
    return sign | ((rebased + 0xfffu + ((rebased >> 13u) & 1u)) >> 13u);
  }
  if (magnitude < 0x33000000u) { return sign; }
  let full = mantissa | 0x800000u;
  let shift = 126u - (magnitude >> 23u);
  let kept = full >> shift;
  let rest = full & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, rest > middle || (rest == middle && (kept & 1u) == 1u)));
}
`

/** The float of a half, exactly. */
const widened = `fn widened(bits: u32) -> u32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let mantissa = bits & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (mantissa << 13u); }
  if (exponent > 0u) { return sign | ((exponent + 112u) << 23u) | (mantissa << 13u); }
  if (mantissa == 0u) { return sign; }
  let shift = countLeadingZeros(mantissa) - 21u;
  return sign | ((113u - shift) << 23u) | (((mantissa << shift) & 0x3ffu) << 13u);
}
`

/** Each invocation makes one 32-bit word of the target: two halves, or one float. */
function packingText(from: IncomingDType, to: StorageDType): string {
  const conversion = conversions[to][from]
  const functions = [halved, widened].filter((text) => conversion.startsWith(/fn (\w+)/.exec(text)![1]!))
  return `struct Permutation { sizes: vec4<u32>, limits: vec4<u32>, strides: vec4<u32> }
@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
@group(0) @binding(2) var<uniform> p: Permutation;
${functions.join('')}fn element(at: u32) -> u32 {
  let place = vec3<u32>(at / (p.sizes.y * p.sizes.z), at / p.sizes.z % p.sizes.y, at % p.sizes.z);
  if (any(place >= p.limits.xyz)) { return 0u; }
  let index = dot(place, p.strides.xyz);
  let bits = ${loads[from]};
  return ${conversion};
}
@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let word = id.y * groups.x * ${lanes}u + id.x;
  if (word >= p.sizes.w) { return; }
  packed[word] = ${to === 'f16' ? 'element(word * 2u) | (element(word * 2u + 1u) << 16u)' : 'element(word)'};
}
`
}

/** Starts compiling what `devicePacking` will need, before kernels that can wait. */
export function preparePacking(device: Device, from: IncomingDType, to: StorageDType): Promise<GPUComputePipeline> {
  return device.pipeline(packingText(from, to), `pack ${from} as ${to}`)
}

/** One weight to pack: its elements as they come, and where and how they are to lie. */
export interface PackedWeight {
  readonly from: IncomingDType
  readonly sourceBytes: number
  readonly layout: PreparedWeight
  readonly target: GPUBuffer
}

export interface DevicePacking {
  /** Where a weight's bytes go, from the start of the buffer, before `encode`. */
  readonly source: GPUBuffer
  /** Encodes the kernel that fills the target of weight `index` from what lies in `source` then. */
  encode(encoder: GPUCommandEncoder, index: number): void
  dispose(): void
}

/** Whether packing changes nothing: the bytes can be copied to the target as they come. */
export function isPlain({ from, sourceBytes, layout }: Omit<PackedWeight, 'target'>, to: StorageDType): boolean {
  if (from !== (to === 'f16' ? 'F16' : 'F32')) return false
  const { sizes, limits, strides } = layout.permutation
  const rowMajor = [sizes[1] * sizes[2], sizes[2], 1]
  return (
    layout.elements * (to === 'f16' ? 2 : 4) === sourceBytes &&
    sizes.every((size, i) => size === limits[i] && (size === 1 || strides[i] === rowMajor[i]))
  )
}

/** Prepares the kernels, their parameters, and a buffer for the largest of the weights. */
export async function devicePacking(
  device: Device,
  weights: readonly PackedWeight[],
  to: StorageDType,
): Promise<DevicePacking> {
  const kernels = new Map<
    IncomingDType,
    { readonly pipeline: GPUComputePipeline; readonly layout: GPUBindGroupLayout }
  >()
  for (const from of new Set(weights.map((weight) => weight.from)))
    kernels.set(from, {
      pipeline: await preparePacking(device, from, to),
      layout: device.layout(packingText(from, to)),
    })
  const largest = weights.reduce((most, { sourceBytes }) => Math.max(most, sourceBytes), 0)
  const [source, parameters] = (await device.allocate('a weight on its way', usage, [
    { label: 'a weight on its way', bytes: largest },
    { label: 'permutations', bytes: weights.length * parametersStride },
  ])) as [GPUBuffer, GPUBuffer]
  const words = weights.map(({ layout }) => Math.ceil((layout.elements * (to === 'f16' ? 2 : 4)) / 4))
  const numbers = new Uint32Array((weights.length * parametersStride) / 4)
  for (const [i, { layout }] of weights.entries()) {
    const { sizes, limits, strides } = layout.permutation
    numbers.set([...sizes, words[i]!, ...limits, 0, ...strides, 0], (i * parametersStride) / 4)
  }
  device.gpu.queue.writeBuffer(parameters, 0, numbers)
  return {
    source,
    encode(encoder, index) {
      const { from, target } = weights[index]!
      const groups = Math.ceil(words[index]! / lanes)
      const columns = Math.min(groups, device.limits.maxComputeWorkgroupsPerDimension)
      const resources = [
        { buffer: source },
        { buffer: target },
        { buffer: parameters, offset: index * parametersStride, size: 48 },
      ]
      const pass = encoder.beginComputePass()
      const { pipeline, layout } = kernels.get(from)!
      const entries = resources.map((resource, binding) => ({ binding, resource }))
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, device.gpu.createBindGroup({ layout, entries }))
      pass.dispatchWorkgroups(columns, Math.ceil(groups / columns))
      pass.end()
    },
    dispose() {
      device.free(source)
      device.free(parameters)
    },
  }
}
