// Sums over the lanes of a workgroup, in f32, as a tree in workgroup memory. One lane needs neither memory nor barriers.
import { u32Text } from '../wgsl/number.ts'

/**
 * `fn workgroupSum(lane: u32, value: f32) -> f32`, the same sum for every lane; call it in uniform control flow only.
 * `lanes` is a power of two. The steps are written out: a barrier in a loop compiles ten times slower on SwiftShader.
 */
export function workgroupSumText(lanes: number): string {
  if (lanes === 1) return 'fn workgroupSum(lane: u32, value: f32) -> f32 { return value; }'
  const steps: string[] = []
  for (let half = lanes / 2; half >= 1; half /= 2) {
    const n = u32Text(half)
    steps.push(`  if (lane < ${n}) { partialSums[lane] += partialSums[lane + ${n}]; }\n  workgroupBarrier();`)
  }
  return `var<workgroup> partialSums: array<f32, ${lanes}>;
fn workgroupSum(lane: u32, value: f32) -> f32 {
  workgroupBarrier(); // the readers of the last sum are done
  partialSums[lane] = value;
  workgroupBarrier();
${steps.join('\n')}
  return partialSums[0];
}`
}

/**
 * `fn masked(v, group)` text: zero in the channels of group `group` that lie outside first … end−1.
 * A padded or foreign channel has a deviation from the mean that must not be counted.
 */
export function maskText(name: string): string {
  return `fn ${name}(v: vec4<f32>, group: u32, first: u32, end: u32) -> vec4<f32> {
  let c = vec4<u32>(group * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), v, (c >= vec4<u32>(first)) & (c < vec4<u32>(end)));
}`
}
