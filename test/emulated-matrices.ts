// Kernels on matrix units run where there are none: their text with f16 held in f32 and with every subgroup operation written
// out for 32 lanes over workgroup memory. Fragments are spread over lanes, so a missing barrier shows as on a GPU.
import type { Dispatch, Kernel } from '../src/kernels/family.ts'

/** Lane l holds row l % 16 of a left matrix, columns 8 · (l / 16) … + 7 of a right one, both of a result. */
const operations = `
struct Left { e: array<f32, 16> }
struct Right { e: array<f32, 128> }
struct Result { e: array<f32, 8> }
fn halves(e: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(e.x), unpack2x16float(e.y)); }
fn rounded(v: vec4<f32>) -> vec4<f32> { return quantizeToF16(v); }
fn multiplyAdd(a: Left, b: Right, c: Result) -> Result {
  var left = a;
  var right = b;
  var sum = c;
  for (var k = 0u; k < 16u; k++) {
    for (var j = 0u; j < 8u; j++) { sum.e[j] += left.e[k] * right.e[k * 8u + j]; }
  }
  return sum;
}
fn shuffled(v: f32, li: u32, source: u32) -> f32 {
  exchange[li] = v;
  workgroupBarrier();
  let result = exchange[source];
  workgroupBarrier();
  return result;
}
fn anyOf(v: bool, li: u32) -> bool {
  exchange[li] = select(0.0, 1.0, v);
  workgroupBarrier();
  var result = false;
  for (var i = 0u; i < 32u; i++) { result = result || exchange[li / 32u * 32u + i] > 0.0; }
  workgroupBarrier();
  return result;
}`

/** A store into an array of scalars, such as a scratch buffer; offset and stride count scalars. */
const scalarStore = (array: string) => `
fn store_${array}(offset: u32, value: Result, stride: u32, lane: u32) {
  var m = value;
  for (var j = 0u; j < 8u; j++) { ${array}[offset + lane % 16u * stride + lane / 16u * 8u + j] = m.e[j]; }
}`

/** Loads and stores of one workgroup array of vec4s; offset and stride count vec4s, as in the text. */
const accessors = (array: string) => {
  const at = (row: string, column: string) =>
    `${array}[offset + (${row}) * stride + (${column}) / 4u][(${column}) % 4u]`
  const right = (name: string, row: string, column: string) => `
fn ${name}(offset: u32, stride: u32, lane: u32) -> Right {
  var m: Right;
  for (var k = 0u; k < 16u; k++) {
    for (var j = 0u; j < 8u; j++) { m.e[k * 8u + j] = ${at(row, column)}; }
  }
  return m;
}`
  return `
fn left_row_${array}(offset: u32, stride: u32, lane: u32) -> Left {
  var m: Left;
  for (var k = 0u; k < 16u; k++) { m.e[k] = ${at('lane % 16u', 'k')}; }
  return m;
}${right(`right_row_${array}`, 'k', 'lane / 16u * 8u + j')}${right(`right_col_${array}`, 'lane / 16u * 8u + j', 'k')}
fn result_row_${array}(offset: u32, stride: u32, lane: u32) -> Result {
  var m: Result;
  for (var j = 0u; j < 8u; j++) { m.e[j] = ${at('lane % 16u', 'lane / 16u * 8u + j')}; }
  return m;
}
fn store_${array}(offset: u32, value: Result, stride: u32, lane: u32) {
  var m = value;
  for (var j = 0u; j < 8u; j++) { ${at('lane % 16u', 'lane / 16u * 8u + j')} = m.e[j]; }
}`
}

/** Storage of native f16 as pairs of halves in words: loads and stores are the lines that `ioText` prints. */
function packedStorage(wgsl: string): string {
  const buffers = [...wgsl.matchAll(/var<storage, \w+> (\w+): array<vec4<f16>>;/g)].map((m) => m[1]!)
  return buffers.reduce(
    (text, name) =>
      text
        .replace(`${name}: array<vec4<f16>>`, `${name}: array<vec2<u32>>`)
        .replaceAll(`vec4<f32>(${name}[`, `halves(${name}[`)
        .replace(
          new RegExp(`(${name}\\[.*\\]) = vec4<f16>\\(v\\);`, 'g'),
          '$1 = vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));',
        ),
    wgsl,
  )
}

/** The text for a device without f16, matrices and subgroups of 32. */
export function emulated(wgsl: string): string {
  const threads = /@workgroup_size\((\d+)\)/.exec(wgsl)![1]
  const arrays = [...wgsl.matchAll(/var<workgroup> (\w+): array<vec4</g)].map((m) => m[1]!)
  const scalars = [...wgsl.matchAll(/var<storage, read_write> (\w+): array<f32>;/g)].map((m) => m[1]!)
  const body = packedStorage(wgsl)
    .replace(/^(enable|diagnostic).*;$/gm, '')
    .replace(
      /subgroupMatrixLoad<subgroup_matrix_(\w+)<f\d+, 16, 16>, (row|col)_major>\(&(\w+), (.*)\);/g,
      '$1_$2_$3($4, lane);',
    )
    .replace(/subgroupMatrixStore<row_major>\(&(\w+), (.*)\);/g, 'store_$1($2, lane);')
    .replaceAll('subgroupMatrixMultiplyAccumulate(', 'multiplyAdd(')
    .replaceAll('subgroup_matrix_result<f32, 16, 16>', 'Result')
    .replace(/subgroupShuffleXor\((\w+), (\w+)\)/g, 'shuffled($1, li, li ^ $2)')
    .replace(/subgroupShuffle\((\w+), (\w+)\)/g, 'shuffled($1, li, sg * 32u + $2)')
    .replace(/subgroupAny\((\w+)\)/g, 'anyOf($1, li)')
    .replaceAll('bitcast<vec4<f16>>(', 'halves(')
    .replaceAll('vec4<f16>(', 'rounded(')
    .replaceAll('vec4<f16>', 'vec4<f32>')
    .replace(/ *@builtin\(subgroup_(id|invocation_id)\).*\n/g, '')
    .replace(/(\n\) \{)/, '$1\n  let sg = li / 32u;\n  let lane = li % 32u;')
  const stores = [...arrays.map(accessors), ...scalars.map(scalarStore)].join('')
  return `var<workgroup> exchange: array<f32, ${threads}>;\n${operations}${stores}\n${body}`
}

const softwareMemory = 32768

/** Moves the largest arrays of workgroup memory to scratch buffers, a part for each workgroup, until the rest fits SwiftShader. */
function spilled(dispatch: Dispatch, firstScratch: number): { dispatch: Dispatch; scratch: number[] } {
  const [x, y, z] = dispatch.workgroups
  let { wgsl } = dispatch
  const bindings = [...dispatch.bindings]
  const scratch: number[] = []
  const arrays = [...wgsl.matchAll(/var<workgroup> (\w+): array<vec4<f32>, (\d+)>;/g)]
    .map(([declared, name, length]) => ({ declared, name: name!, length: Number(length) }))
    .sort((a, b) => b.length - a.length)
  for (const { declared, name, length } of arrays) {
    if (workgroupMemory(wgsl) <= softwareMemory) break
    wgsl = wgsl
      .replace(new RegExp(`\\b${name}\\[`, 'g'), `${name}[spillPlace * ${length}u + `)
      .replace(declared, `@group(0) @binding(${bindings.length}) var<storage, read_write> ${name}: array<vec4<f32>>;`)
    bindings.push({ kind: 'scratch', index: firstScratch + scratch.length })
    scratch.push(length * 16 * x * y * z)
  }
  if (scratch.length > 0)
    wgsl = `var<private> spillPlace: u32;\n${wgsl}`
      .replace(/.*workgroup(Barrier|UniformLoad)\(/g, 'storageBarrier();\n$&')
      .replace(/(\n\) \{)/, `$1\n  spillPlace = (wid.z * ${y}u + wid.y) * ${x}u + wid.x;`)
  return { dispatch: { ...dispatch, wgsl, bindings }, scratch }
}

export function emulatedKernel(kernel: Kernel): Kernel {
  const scratch = [...kernel.scratch]
  const dispatches = kernel.dispatches.map((d) => {
    const result = spilled({ ...d, wgsl: emulated(d.wgsl) }, scratch.length)
    scratch.push(...result.scratch)
    return result.dispatch
  })
  return { dispatches, scratch }
}

/** Bytes of workgroup memory that a text declares. */
export function workgroupMemory(wgsl: string): number {
  const bytes: Record<string, number> = { u32: 4, f32: 4, 'vec4<f32>': 16, 'vec4<f16>': 8 }
  return [...wgsl.matchAll(/var<workgroup> \w+: array<(.+), (\d+)>;/g)].reduce(
    (a, m) => a + bytes[m[1]!]! * Number(m[2]),
    0,
  )
}
