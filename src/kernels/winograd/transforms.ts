// The three transforms as dispatches. One invocation: a tile (or a weight) × four channels, as much of it as `rowSets` says;
// neighbours take neighbouring channels. All arithmetic is f32. Sizes and places come from data: chunks, slices and layers share
// texts, which are long and would take drivers a minute to compile one by one.
import type { Conv2dAttrs } from '../../ops/attrs.ts'
import { convOperands } from '../../ops/conv-operands.ts'
import { isSummed, normalisedText } from '../conv2d/norm.ts'
import { convFinishText, convNames, storedIndex } from '../conv2d/problem.ts'
import type { Dispatch, Operand, Request } from '../family.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, type NamedOperand, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { scalesAt } from '../wgsl/quantised.ts'
import { type Part, rowSets, type WinogradProblem } from './problem.ts'
import { switchText, twoPasses } from './transform-text.ts'

/** How a transform is cut into invocations. */
export interface TransformParams {
  /** Two rows an invocation rather than all: for GPUs, whose registers do not hold a tile of vec4. */
  readonly split: boolean
  /** Invocations of a workgroup along channels and tiles; times the parts of a tile at most 256. */
  readonly lanes: number
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const v: NamedScratch = { name: 'v_', index: 0, element: 'vec4<f32>' }
const u: NamedScratch = { name: 'u_', index: 1, element: 'vec4<f32>' }
const products: NamedScratch = { name: 'm_', index: 2, element: 'vec4<f32>' }

/** Tiles, or groups of four output or input channels: those of a chunk, a slice or a depth. */
export interface Range {
  readonly first: number
  readonly count: number
}

/** The kernel that dispatches are made for. `constants` takes the numbers that they read. */
export interface Job {
  readonly request: Request<Conv2dAttrs>
  readonly problem: WinogradProblem
  readonly part: Part
  readonly params: TransformParams
  readonly constants: (readonly number[])[]
}

/** Operands whose place and row stride come from data: `at_` alone, counted from the start of their binding. */
function placedByData(request: Request<Conv2dAttrs>, ...wanted: readonly string[]): NamedOperand[] {
  return requestOperands(request, convNames(request))
    .filter(({ name }) => wanted.includes(name))
    .map((each) => ({ ...each, operand: { ...each.operand, offset4: 0, stride4: 0 } }))
}

/** `Sizes` and bindings; the entry point and `item`, `group` of this invocation, of `items` × `groups` (fields of the sizes). */
function entry(
  { request, params: { lanes }, constants }: Job,
  operands: readonly NamedOperand[],
  scratch: NamedScratch,
  sizes: { readonly items: number; readonly groups: number } & Readonly<Record<string, number>>,
  parts: number,
) {
  const grid = splitGrid(Math.ceil((sizes.items * sizes.groups) / lanes), request.capabilities.limits)
  const io = ioText(operands, [scratch], { fields: Object.keys(sizes), index: constants.length })
  constants.push(Object.values(sizes))
  const main = `@compute @workgroup_size(${lanes}, ${parts})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let i = ${grid.index} * ${lanes}u + lid.x;
  let group = i % sizes.groups;
  let item = i / sizes.groups;
  if (item >= sizes.items) { return; }`
  return { declarations: `${io.enables}${io.text}`, main, bindings: io.bindings, workgroups: grid.workgroups }
}

/** Where tile `first + item` lies: `image`, `tileY`, `tileX`. */
const placeText = `let tile = sizes.first + item;
  let image = tile / (sizes.tilesX * sizes.tilesY);
  let tileY = tile / sizes.tilesX % sizes.tilesY;
  let tileX = tile % sizes.tilesX;`

/** V = Bᵀ d B of tiles and a depth's channels, zero outside the picture. */
export function inputDispatch(job: Job, { first, count }: Range, depth: Range): Dispatch {
  const { request, problem, part, params } = job
  const { m, t, bt, across, h, w, storedW, top, left, tilesX, tilesY } = problem
  const { stride4, offset4 } = request.inputs[0]!
  const { norm } = convOperands<Operand>(request.inputs, request.attrs)
  // Which rows and columns of a tile can lie outside at all is known here.
  const beyond = (i: number, before: number, lastTile: number, size: number) =>
    i < before || lastTile + i - before >= size
  const lastTile = { row: (tilesY - 1) * m, column: (tilesX - 1) * across.m }
  const axis = (i: number, kind: 'row' | 'column') => {
    const [start, before, size, extent, stride] =
      kind === 'row'
        ? (['y0', top, h, 'sizes.h', 'sizes.rowStride'] as const)
        : (['x0', left, w, 'sizes.w', 'sizes.stride'] as const)
    return beyond(i, before, lastTile[kind], size)
      ? `let ${kind}${i} = ${storedIndex(problem, `u32(clamp(${start} + ${i}, 0, i32(${extent}) - 1))`)} * ${stride};
  let ${kind}In${i} = ${start} + ${i} >= 0 && ${start} + ${i} < i32(${extent});`
      : `let ${kind}${i} = ${storedIndex(problem, `u32(${start} + ${i})`)} * ${stride};`
  }
  const load = (i: number, j: number) => {
    const element = `at_x(base + row${i} + column${j})`
    const value = norm ? `normalised(${element}, mean, scale, shift)` : element
    const inside = [
      ...(beyond(i, top, lastTile.row, h) ? [`rowIn${i}`] : []),
      ...(beyond(j, left, lastTile.column, w) ? [`columnIn${j}`] : []),
    ]
    return inside.length > 0 ? `select(vec4<f32>(), ${value}, ${inside.join(' && ')})` : value
  }
  const store = (r: number, s: number, value: string) => `v_[${r * across.t + s}u * sizes.plane + at] = ${value};`
  const sets = rowSets(t, 'inputs', params.split)
  const sizes = {
    ...{ items: count, groups: depth.count, first, tilesX, tilesY, h, w },
    ...{
      offset: offset4 + depth.first,
      stride: stride4,
      rowStride: storedW * stride4,
      plane: part.tiles * depth.count,
    },
    ...(norm && {
      moments: norm.moments.offset4 + depth.first,
      momentsStride: norm.moments.stride4,
      beta: norm.beta.offset4 + depth.first,
    }),
  }
  const { declarations, main, ...rest } = entry(
    job,
    placedByData(request, 'x', 'moments', 'beta'),
    v,
    sizes,
    sets.length,
  )
  const moments = 'sizes.moments + image * 2u * sizes.momentsStride + group'
  const wgsl = `${declarations}
${normalisedText(request)}${main}
  ${placeText}
  let y0 = i32(tileY * ${m}u) - ${top};
  let x0 = i32(tileX * ${across.m}u) - ${left};
  let base = sizes.offset + image * ${storedIndex(problem, 'sizes.h')} * sizes.rowStride + group;
  let at = item * sizes.groups + group;
  ${
    norm
      ? `let mean = at_moments(${moments});
  let scale = at_moments(${moments} + sizes.momentsStride);
  let shift = at_beta(sizes.beta + group);`
      : ''
  }
  ${[...range(t).map((i) => axis(i, 'row')), ...range(across.t).map((i) => axis(i, 'column'))].join('\n  ')}
  ${switchText(
    'lid.y',
    sets.map((rows) => twoPasses({ matrix: bt, across: across.bt, rows, columns: across.t, load, store })),
  )}
}
`
  return { label: 'conv2d winograd inputs', wgsl, ...rest }
}

/** U = G g Gᵀ of a slice's output channels and a depth's input channels. */
export function weightDispatch(job: Job, { first, count }: Range, depth: Range): Dispatch {
  const { t, g, across, c4, o4 } = job.problem
  const channels = depth.count * 4
  const { offset4, storage, quantised } = job.request.inputs[1]!
  const body = twoPasses({
    matrix: g,
    across: across.g,
    rows: range(t),
    columns: 3,
    load: (ky, kx) => `at_weight(${ky * 3 + kx}u * sizes.tap + place)`,
    store: (r, s, value) => `u_[${r * across.t + s}u * sizes.plane + at] = ${value};`,
  })
  const { groups } = job.part
  const sizes = {
    ...{ items: channels, groups: count, first: offset4 + depth.first * 4 * o4 + first, stride: o4, tap: c4 * 4 * o4 },
    ...{ row: groups, plane: channels * groups },
    ...(quantised && { scales: scalesAt(storage, quantised) }),
  }
  const operands = placedByData(job.request, 'weight').map((each) =>
    quantised ? { ...each, places: { columns4: 'sizes.stride', scales: 'sizes.scales' } } : each,
  )
  const { declarations, main, ...rest } = entry(job, operands, u, sizes, 1)
  const wgsl = `${declarations}
${main}
  let place = item * sizes.stride + sizes.first + group;
  let at = item * sizes.row + group;
  ${body}
}
`
  return { label: 'conv2d winograd weights', wgsl, ...rest }
}

/** y = Aᵀ M A of a chunk's tiles and a slice's channels, with bias and epilogue. */
export function outputDispatch(job: Job, tiles: Range, groups: Range): Dispatch {
  const { request, problem, part, params } = job
  const { m, at, across, oh, ow, tilesX, tilesY } = problem
  const operands = requestOperands(request, convNames(request)).filter((each) => !isSummed(each))
  const sets = rowSets(m, 'results', params.split)
  const bodies = sets.map((rows) =>
    twoPasses({
      matrix: at,
      across: across.at,
      rows,
      columns: across.t,
      load: (r, s) => `m_[${r * across.t + s}u * sizes.plane + at]`,
      store: (r, s, value) => `results[${(r - rows[0]!) * across.m + s}] = ${value};`,
    }),
  )
  const each = sets[0]!.length
  const sizes = {
    ...{ items: tiles.count, groups: groups.count, first: tiles.first, firstGroup: groups.first, tilesX, tilesY },
    ...{ oh, ow, row: part.groups, plane: part.tiles * part.groups },
  }
  const { declarations, main, ...rest } = entry(job, operands, products, sizes, sets.length)
  const wgsl = `${declarations}
${convFinishText(request)}
${main}
  ${placeText}
  let at = item * sizes.row + group;
  var results: array<vec4<f32>, ${each * across.m}>;
  ${switchText('lid.y', bodies)}
  // A loop, since as many copies of the epilogue would take longer to compile than all the rest.
  for (var k = 0u; k < ${each * across.m}u; k++) {
    let y = tileY * ${m}u + ${params.split ? `lid.y * ${each}u + ` : ''}k / ${across.m}u;
    let x = tileX * ${across.m}u + k % ${across.m}u;
    if (y < sizes.oh && x < sizes.ow) {
      finish((image * sizes.oh + y) * sizes.ow + x, sizes.firstGroup + group, results[k]);
    }
  }
}
`
  return { label: 'conv2d winograd results', wgsl, ...rest }
}
