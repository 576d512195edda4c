// Moments of each channel over parts of an image's rows, the mean off before squaring. Two walks over a part's pixels:
//   sum → mean; Σ (x − mean)²
// `workgroup`: lanes share a part, `columns` neighbouring vec4s of channels at a time; `lane`: a part and a vec4 a lane, without
// barriers, where those are slow.
import type { ChannelMomentsAttrs } from '../../ops/attrs.ts'
import type { Family, Kernel, Request, Variant } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, ioText, requestOperands } from '../wgsl/io.ts'
import { u32Text } from '../wgsl/number.ts'

interface Params {
  /** Lanes along the pixels of a part, a power of two, and along vec4s of channels. */
  readonly rows: number
  readonly columns: number
}

interface Problem {
  readonly groups4: number
  readonly images: number
  /** Of an image. */
  readonly parts: number
  readonly partPixels: number
  readonly pixels: number
}

function problemOf({ attrs, inputs, output }: Request<ChannelMomentsAttrs>): Problem {
  const x = inputs[0]!
  return {
    groups4: x.groups4,
    images: x.shape[0]!,
    parts: output.shape[1]!,
    partPixels: attrs.rows * x.shape[2]!,
    pixels: x.shape[1]! * x.shape[2]!,
  }
}

/** `fn sumOfLanes(lane, value) -> vec4<f32>`: over the lanes along pixels, for each column. Call it in uniform control flow. */
function sumText({ rows, columns }: Params): string {
  if (rows === 1) return 'fn sumOfLanes(lane: u32, value: vec4<f32>) -> vec4<f32> { return value; }'
  const steps: string[] = []
  for (let half = rows / 2; half >= 1; half /= 2) {
    const n = u32Text(half * columns)
    steps.push(`  if (lane < ${n}) { sums[lane] += sums[lane + ${n}]; }\n  workgroupBarrier();`)
  }
  return `var<workgroup> sums: array<vec4<f32>, ${rows * columns}>;
fn sumOfLanes(lane: u32, value: vec4<f32>) -> vec4<f32> {
  workgroupBarrier(); // the readers of the last sum are done
  sums[lane] = value;
  workgroupBarrier();
${steps.join('\n')}
  return sums[lane % ${u32Text(columns)}];
}`
}

function emit(request: Request<ChannelMomentsAttrs>, params: Params): Kernel {
  const { groups4, images, parts, partPixels, pixels } = problemOf(request)
  const { rows, columns } = params
  const blocks = Math.ceil(groups4 / columns)
  const io = ioText(requestOperands(request, ['x']))
  const grid = splitGrid(images * parts * blocks, request.capabilities.limits)
  // Counted in turns that are known here: Dawn puts a countdown into loops whose end it cannot see.
  const turns = Math.ceil(partPixels / rows)
  const walk = (body: string) => `for (var turn = 0u; turn < ${u32Text(turns)}; turn++) {
    let p = first + turn * ${u32Text(rows)} + lane / ${u32Text(columns)};
    if (p < end) { ${body} }
  }`
  // Columns and workgroups to spare compute the last one again and store nothing.
  const wgsl = `${io.enables}${io.text}
${sumText(params)}
@compute @workgroup_size(${rows * columns})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let place = ${grid.index};
  let part = min(place / ${u32Text(blocks)}, ${u32Text(images * parts - 1)});
  let column = place % ${u32Text(blocks)} * ${u32Text(columns)} + lane % ${u32Text(columns)};
  let g = min(column, ${u32Text(groups4 - 1)});
  let image = part / ${u32Text(parts)} * ${u32Text(pixels)};
  let first = image + part % ${u32Text(parts)} * ${u32Text(partPixels)};
  let end = min(first + ${u32Text(partPixels)}, image + ${u32Text(pixels)});
  var sum = vec4<f32>(0.0);
  ${walk('sum += load_x(p, g);')}
  let mean = sumOfLanes(lane, sum) / f32(end - first);
  var squares = vec4<f32>(0.0);
  ${walk('let d = load_x(p, g) - mean; squares += d * d;')}
  squares = sumOfLanes(lane, squares);
  if (lane < ${u32Text(columns)} && column == g && place < ${u32Text(images * parts * blocks)}) {
    store_y(part * 2u, g, mean);
    store_y(part * 2u + 1u, g, squares);
  }
}
`
  return {
    dispatches: [{ label: 'channelMoments', wgsl, bindings: io.bindings, workgroups: grid.workgroups }],
    scratch: [],
  }
}

function cost(request: Request<ChannelMomentsAttrs>, { rows, columns }: Params): number {
  const { groups4, images, parts, partPixels, pixels } = problemOf(request)
  if (request.capabilities.kind === 'software')
    return images * (pixels * groups4 * 40 + parts * groups4 * (rows - 1) * 200)
  const lanes = images * parts * Math.ceil(groups4 / columns) * rows * columns
  const turns = Math.ceil(partPixels / rows)
  return 2000 + Math.max(1, lanes / 262_144) * (turns * 2 * 30 + Math.log2(rows) * 2 * 40)
}

function supports(request: Request<ChannelMomentsAttrs>, { rows, columns }: Params): boolean {
  const { limits } = request.capabilities
  return (
    bindable(request) &&
    !request.epilogue &&
    rows * columns <= Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX) &&
    rows * columns * 16 <= limits.maxComputeWorkgroupStorageSize
  )
}

// In units of the bounds that the op's reference gives: sums over at least 16 accumulators or of few terms err by about one.
const tolerance = { f32: 16, f16: 1 }

const workgroup: Variant<ChannelMomentsAttrs, Params> = {
  name: 'workgroup',
  tunings: {
    software: [],
    gpu: [
      { rows: 32, columns: 8 },
      { rows: 64, columns: 4 },
      { rows: 16, columns: 8 },
    ],
  },
  supports,
  cost,
  emit,
  tolerance,
}

const lane: Variant<ChannelMomentsAttrs, Params> = {
  name: 'lane',
  tunings: { software: [{ rows: 1, columns: 16 }], gpu: [{ rows: 1, columns: 64 }] },
  supports,
  cost,
  emit,
  tolerance,
}

export const channelMomentsFamily: Family<ChannelMomentsAttrs> = { op: 'channelMoments', variants: [workgroup, lane] }
