// WGSL of the short tests that find a device's limits: a copy, multiply-adds in registers, products on matrix units.
import { matrixEnables } from '../../kernels/matmul/matrix-text.ts'

/** Workgroup size of all three: a multiple of every subgroup's. */
export const rateLanes = 128

/** Copies `vectors` vec4<f32>: 32 bytes move for each. Workgroups beyond one dimension's limit go on in y. */
export function copyText(vectors: number, columns: number): string {
  return `@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> copy: array<vec4<f32>>;
@compute @workgroup_size(${rateLanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let i = (wid.y * ${columns}u + wid.x) * ${rateLanes}u + li;
  if (i < ${vectors}u) { copy[i] = source[i]; }
}
`
}

const accumulators = [0, 1, 2, 3, 4, 5, 6, 7]

/** Multiply-adds of an invocation in `vectorText`. */
export function vectorMacs(turns: number): number {
  return turns * accumulators.length * 4
}

/** Eight independent chains of vec4 multiply-adds; the factors come from a buffer, or the compiler would compute the result. */
export function vectorText(turns: number): string {
  const each = (line: (i: number) => string) => accumulators.map(line).join('\n  ')
  return `@group(0) @binding(0) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;
@compute @workgroup_size(${rateLanes})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) li: u32) {
  let factor = factors[0];
  let term = factors[1];
  ${each((i) => `var s${i} = vec4<f32>(f32(id.x + ${i}u));`)}
  for (var turn = 0u; turn < ${turns}u; turn++) {
  ${each((i) => `s${i} = s${i} * factor + term;`)}
  }
  sums[li] = ${accumulators.map((i) => `s${i}`).join(' + ')};
}
`
}

const [rows, columns] = [
  [0, 1, 2, 3],
  [0, 1],
] as const

/** Multiply-adds of a subgroup of 32 in `matrixText`. */
export function matrixMacs(turns: number): number {
  return turns * rows.length * columns.length * 16 ** 3
}

/** Eight independent chains of 16×16×16 products by each subgroup, operands loaded once. f16 in, f32 sums. */
export function matrixText(turns: number): string {
  const each = (line: (i: number, j: number) => string) =>
    rows.flatMap((i) => columns.map((j) => line(i, j))).join('\n  ')
  return `enable f16;
${matrixEnables}@group(0) @binding(0) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
var<workgroup> tile: array<f16, 1024>;
@compute @workgroup_size(${rateLanes})
fn main(@builtin(local_invocation_index) li: u32) {
  for (var i = li; i < 1024u; i += ${rateLanes}u) { tile[i] = f16(factors[i % 2u].x); }
  workgroupBarrier();
  ${rows.map((i) => `let a${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, ${i * 256}u, 16u);`).join('\n  ')}
  ${columns.map((j) => `let b${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&tile, ${j * 256}u, 16u);`).join('\n  ')}
  ${each((i, j) => `var c${i}_${j}: subgroup_matrix_result<f32, 16, 16>;`)}
  for (var turn = 0u; turn < ${turns}u; turn++) {
  ${each((i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, c${i}_${j});`)}
  }
  ${each((i, j) => `subgroupMatrixStore<row_major>(&sums, ${(i * columns.length + j) * 256}u, c${i}_${j}, 16u);`)}
}
`
}
