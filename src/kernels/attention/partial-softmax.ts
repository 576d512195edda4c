// Partially fused softmax on vector units: see partial-softmax-problem.ts. Both products are loop nests of `matmul`: through
// workgroup memory on GPUs, from registers on CPU adapters. Any head width: where heads begin or end within a vec4, they are
// copied apart first, padded, and their results put side by side at the end.
// Wins where heads are so wide that a query no longer fits registers (512 in the VAE); else the logits' way through memory
// costs more than it saves.
import type { AttentionAttrs } from '../../ops/attrs.ts'
import type { Dispatch, Kernel, Request, Variant } from '../family.ts'
import { estimate } from '../matmul/cost.ts'
import {
  type TiledParams,
  type TiledProduct,
  tileCounts,
  tiledMain,
  tiledTunings,
  tiledWork,
  tileFits,
} from '../matmul/tiled-text.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { ioText, type NamedOperand, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { f32Text, u32Text } from '../wgsl/number.ts'
import {
  bindsAll,
  blockScratch,
  blockwise,
  keepText,
  type Logits,
  logitScratch,
  logitScratchBytes,
  logitsOf,
  rowText,
  statisticScratch,
  statisticsDispatch,
  weightsDispatch,
} from './partial-softmax-problem.ts'
import { queryScale, tolerance } from './problem.ts'
import { type RegisterTile, registerMain, registerTiles, registerWork } from './register-tile-text.ts'

/** Tiles of the product with kᵀ and of the product with v. */
type Tiles =
  | { readonly nest: 'tiled'; readonly logits: TiledParams; readonly values: TiledParams }
  | { readonly nest: 'registers'; readonly logits: RegisterTile; readonly values: RegisterTile }

type Params = Tiles & {
  readonly logitBytes: number
  /** Lanes that share a row of logits for its statistics. */
  readonly lanes: number
}

/** Heads that share vec4s of a row, each by itself: [batch][row][width4] vec4, zero in the padding. */
const apart = {
  q: { name: 'heads_q', index: 3, element: 'vec4<f32>' },
  k: { name: 'heads_k', index: 4, element: 'vec4<f32>' },
  v: { name: 'heads_v', index: 5, element: 'vec4<f32>' },
  y: { name: 'heads_y', index: 6, element: 'vec4<f32>' },
} as const satisfies Record<string, NamedScratch>

const isApart = ({ width }: Logits) => width % 4 !== 0

/** Whether weights are made while the product with v loads them, or before, in a walk of their own. */
type Softmax = 'fused' | 'apart'

const cutOf = ({ logitBytes }: Params) => ({ logitBytes, rowsStep: 4, keysStep4: 1 })

interface Sizes {
  readonly batches: number
  readonly m: number
  readonly n4: number
  readonly k4: number
  readonly halves: 1
}

const logitSizes = ({ batches, blockRows: m, keys4: n4, width4: k4 }: Logits): Sizes => ({
  ...{ batches, m, n4, k4, halves: 1 },
})
const valueSizes = ({ batches, blockRows: m, width4: n4, keys4: k4 }: Logits): Sizes => ({
  ...{ batches, m, n4, k4, halves: 1 },
})

/** The picture and the head of a batch, as text. */
function placeText({ n, heads }: Logits): { readonly image: string; readonly head: string } {
  return {
    image: n === 1 ? '0u' : `batch / ${u32Text(heads)}`,
    head: heads === 1 ? '0u' : n === 1 ? 'batch' : `batch % ${u32Text(heads)}`,
  }
}

/** One of the two products: its workgroups, its work and its text. */
function nestOf(params: Params, which: 'logits' | 'values', sizes: Sizes) {
  if (params.nest === 'tiled') {
    const tile = params[which]
    return {
      workgroups: tileCounts(tile, sizes).workgroups,
      work: tiledWork(tile, sizes),
      main: (product: TiledProduct) => tiledMain(tile, product),
    }
  }
  const tile = params[which]
  return {
    workgroups: registerTiles(tile, sizes).workgroups,
    work: registerWork(tile, sizes),
    main: (product: TiledProduct) => registerMain(tile, product),
  }
}

/** An operand by heads: how it is bound, and `fn head_x(batch, row, g) -> vec4<f32>`, channels 4g … 4g+3 of a head. */
function headsOf(request: Request<AttentionAttrs>, logits: Logits, name: 'q' | 'k' | 'v') {
  const rows = u32Text(name === 'q' ? logits.queries : logits.keys)
  const width4 = u32Text(logits.width4)
  const { image, head } = placeText(logits)
  const value = isApart(logits)
    ? `heads_${name}[(batch * ${rows} + row) * ${width4} + g]`
    : `load_${name}(${image} * ${rows} + row, ${head} * ${width4} + g)`
  return {
    operands: isApart(logits) ? [] : requestOperands(request, ['q', 'k', 'v']).filter((each) => each.name === name),
    scratch: isApart(logits) ? [apart[name]] : [],
    text: `fn head_${name}(batch: u32, row: u32, g: u32) -> vec4<f32> { return ${value}; }`,
  }
}

function product(
  request: Request<AttentionAttrs>,
  params: Params,
  which: 'logits' | 'values',
  {
    operands,
    scratch,
    text,
    loads,
    bRows,
  }: {
    readonly operands: readonly NamedOperand[]
    readonly scratch: readonly NamedScratch[]
    readonly text: string
    readonly loads: string
    readonly bRows?: boolean
  },
): Dispatch {
  const logits = logitsOf(request, cutOf(params))
  const sizes = which === 'logits' ? logitSizes(logits) : valueSizes(logits)
  const nest = nestOf(params, which, sizes)
  const grid = splitGrid(nest.workgroups, request.capabilities.limits)
  const io = ioText(operands, [...scratch, ...blockScratch(logits)])
  const wgsl = `${io.enables}${io.text}
${rowText(logits)}
${text}
${nest.main({ ...sizes, grid, loads, ...(bRows ? { bRows } : {}) })}`
  return { label: `attention.${which}`, wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function logitsDispatch(request: Request<AttentionAttrs>, params: Params, logits: Logits): Dispatch {
  const [q, k] = [headsOf(request, logits, 'q'), headsOf(request, logits, 'k')]
  return product(request, params, 'logits', {
    operands: [...q.operands, ...k.operands],
    scratch: [...q.scratch, ...k.scratch, logitScratch],
    bRows: true,
    text: `${q.text}
${k.text}
${keepText(logits)}
fn finish(row: u32, group: u32, v: vec4<f32>) { keep(row, group, v * ${f32Text(queryScale(request.attrs.scale))}); }`,
    // Rows beyond the last query, and keys beyond the last, repeat it; `keep` and the product with v leave them out.
    loads: `fn tileA(batch: u32, row: u32, kg: u32) -> vec4<f32> {
  return head_q(batch, min(firstQuery() + row, ${u32Text(logits.queries - 1)}), kg);
}
fn tileB(batch: u32, half: u32, column: u32, kg: u32) -> vec4<f32> {
  return head_k(batch, min(column, ${u32Text(logits.keys - 1)}), kg);
}`,
  })
}

function valuesDispatch(request: Request<AttentionAttrs>, params: Params, logits: Logits, softmax: Softmax): Dispatch {
  const { heads, queries, keys, keys4, blockRows, width4 } = logits
  const v = headsOf(request, logits, 'v')
  const rows = u32Text(blockRows)
  const [results, store] = isApart(logits)
    ? [[], `heads_y[row * ${u32Text(width4)} + group] = result;`]
    : [
        requestOperands(request, ['q', 'k', 'v']).filter(({ role }) => role.kind !== 'input'),
        `let query = firstQuery() + row % ${rows};
  if (query >= ${u32Text(queries)}) { return; }
  let place = row / ${u32Text(heads * blockRows)} * ${u32Text(queries)} + query;
  let channels = row / ${rows} % ${u32Text(heads)} * ${u32Text(width4)} + group;
  store_y(place, channels, epilogue(place, channels, result));`,
      ]
  return product(request, params, 'values', {
    operands: [...v.operands, ...results],
    scratch: [
      logitScratch,
      ...(softmax === 'apart' ? [] : [statisticScratch]),
      ...v.scratch,
      ...(isApart(logits) ? [apart.y] : []),
    ],
    text: `${v.text}
${isApart(logits) ? '' : epilogueText(request)}
fn finish(row: u32, group: u32, v: vec4<f32>) {
  let result = ${softmax === 'apart' ? 'v' : 'v * statistics[row * 2u + 1u]'};
  ${store}
}`,
    loads: `fn tileA(batch: u32, row: u32, kg: u32) -> vec4<f32> {
  let place = batch * ${rows} + row;
  ${softmax === 'apart' ? `return logits[place * ${u32Text(keys4)} + kg];` : `return exp2(logits[place * ${u32Text(keys4)} + kg] - statistics[place * 2u]);`}
}
fn tileB(batch: u32, half: u32, k: u32, group: u32) -> vec4<f32> {
  return head_v(batch, min(k, ${u32Text(keys - 1)}), group);
}`,
  })
}

/** Copies the heads of an operand apart: an invocation four channels. */
function partDispatch(request: Request<AttentionAttrs>, logits: Logits, name: 'q' | 'k' | 'v'): Dispatch {
  const { heads, width, width4, batches } = logits
  const rows = name === 'q' ? logits.queries : logits.keys
  const lanes = 64
  const io = ioText(
    requestOperands(request, ['q', 'k', 'v']).filter((each) => each.name === name),
    [apart[name]],
  )
  const count = batches * rows * width4
  const grid = splitGrid(Math.ceil(count / lanes), request.capabilities.limits)
  const wgsl = `${io.enables}${io.text}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${grid.index} * ${u32Text(lanes)} + lane;
  if (i >= ${u32Text(count)}) { return; }
  let batch = i / ${u32Text(rows * width4)};
  let row = batch / ${u32Text(heads)} * ${u32Text(rows)} + i / ${u32Text(width4)} % ${u32Text(rows)};
  let first = i % ${u32Text(width4)} * 4u;
  var v = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j++) {
    let c = batch % ${u32Text(heads)} * ${u32Text(width)} + first + j;
    if (first + j < ${u32Text(width)}) { v[j] = load_${name}(row, c / 4u)[c % 4u]; }
  }
  heads_${name}[i] = v;
}
`
  return { label: `attention.part ${name}`, wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

/** Puts the heads of a block's rows side by side: an invocation four channels of y. */
function assembleDispatch(request: Request<AttentionAttrs>, logits: Logits): Dispatch {
  const { n, heads, queries, blockRows, width, width4 } = logits
  const lanes = 64
  const operands = requestOperands(request, ['q', 'k', 'v']).filter(({ role }) => role.kind !== 'input')
  const io = ioText(operands, [{ ...apart.y, element: 'f32' }, ...blockScratch(logits)])
  const { groups4, channels } = request.output
  const count = n * blockRows * groups4
  const grid = splitGrid(Math.ceil(count / lanes), request.capabilities.limits)
  const rows = u32Text(blockRows)
  const wgsl = `${io.enables}${io.text}
${rowText(logits)}
${epilogueText(request)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = ${grid.index} * ${u32Text(lanes)} + lane;
  let group = i % ${u32Text(groups4)};
  let image = i / ${u32Text(groups4 * blockRows)};
  let row = i / ${u32Text(groups4)} % ${rows};
  let query = firstQuery() + row;
  if (i >= ${u32Text(count)} || query >= ${u32Text(queries)}) { return; }
  var v = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j++) {
    let c = min(group * 4u + j, ${u32Text(channels - 1)});
    let batch = image * ${u32Text(heads)} + c / ${u32Text(width)};
    v[j] = heads_y[(batch * ${rows} + row) * ${u32Text(width4 * 4)} + c % ${u32Text(width)}];
  }
  let place = image * ${u32Text(queries)} + query;
  store_y(place, group, epilogue(place, group, v));
}
`
  return { label: 'attention.assemble', wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

function scratchBytes(logits: Logits): readonly number[] {
  const { batches, blockRows, queries, keys, width4 } = logits
  const heads = (rows: number) => batches * rows * width4 * 16
  return [...logitScratchBytes(logits), ...(isApart(logits) ? [queries, keys, keys, blockRows].map(heads) : [])]
}

function emit(request: Request<AttentionAttrs>, params: Params, softmax: Softmax): Kernel {
  const logits = logitsOf(request, cutOf(params))
  const block = [
    logitsDispatch(request, params, logits),
    statisticsDispatch(request, logits, params.lanes),
    ...(softmax === 'apart' ? [weightsDispatch(request, logits)] : []),
    valuesDispatch(request, params, logits, softmax),
  ]
  const dispatches = isApart(logits)
    ? blockwise(
        logits,
        (['q', 'k', 'v'] as const).map((name) => partDispatch(request, logits, name)),
        [...block, assembleDispatch(request, logits)],
      )
    : blockwise(logits, [], block)
  return { dispatches, scratch: scratchBytes(logits) }
}

const mebibyte = 2 ** 20

/** `matmul`'s first tile of so many rows and columns. */
function tileOf(rows: number, columns: number): TiledParams[] {
  const fits = (tile: TiledParams) =>
    tile.rows * tile.lanesM === rows && tile.groups * tile.lanesN * 4 === columns && tile.rows * tile.groups <= 16
  return tiledTunings.gpu.filter(fits).slice(0, 1)
}
/** Logits are many; results are as narrow as a head, and fill a device only in small tiles. */
const pairs = [
  [tileOf(128, 128), tileOf(128, 128)],
  [tileOf(128, 128), tileOf(128, 64)],
  [tileOf(128, 128), tileOf(64, 64)],
  [tileOf(64, 64), tileOf(64, 64)],
  [tileOf(32, 32), tileOf(32, 32)],
] as const
const gpuTunings = [32 * mebibyte, 4 * mebibyte].flatMap((logitBytes) =>
  pairs.flatMap(([first, second]) =>
    first.flatMap((logits) =>
      second.map((values): Params => ({ nest: 'tiled', logits, values, logitBytes, lanes: 128 })),
    ),
  ),
)

const registers = { rows: 8, groups: 4, lanesN: 2, lanesM: 8 }

function variant(name: string, softmax: Softmax): Variant<AttentionAttrs, Params> {
  return {
    name,
    tunings: {
      software: [
        { nest: 'registers', logits: registers, values: registers, logitBytes: 4 * mebibyte, lanes: 1 },
        {
          ...{ nest: 'registers', logitBytes: mebibyte, lanes: 1 },
          logits: { rows: 4, groups: 2, lanesN: 4, lanesM: 4 },
          values: { rows: 4, groups: 4, lanesN: 2, lanesM: 8 },
        },
      ],
      gpu: gpuTunings,
    },
    supports(request, params) {
      const { limits } = request.capabilities
      if (!bindsAll(request) || params.lanes > limits.maxComputeInvocationsPerWorkgroup) return false
      const logits = logitsOf(request, cutOf(params))
      if (logitScratchBytes(logits)[0] > params.logitBytes) return false
      if (scratchBytes(logits).some((bytes) => bytes > limits.maxStorageBufferBindingSize)) return false
      return (
        params.nest === 'registers' ||
        (tileFits(params.logits, logitSizes(logits), limits) && tileFits(params.values, valueSizes(logits), limits))
      )
    },
    cost(request, params) {
      const { kind } = request.capabilities
      const logits = logitsOf(request, cutOf(params))
      const { batches, blockRows, blocks, keys4, width4 } = logits
      const works = [
        nestOf(params, 'logits', logitSizes(logits)).work,
        nestOf(params, 'values', valueSizes(logits)).work,
      ]
      const products = works.reduce((sum, work) => sum + estimate(kind, work), 0)
      const elements = batches * blockRows * keys4
      // Weights are computed again for every tile of columns; memory is written once, read by the statistics and by each tile.
      // Factors on SwiftShader: against per-query.ts's estimates on six shapes, whose order they keep.
      const { lanesN, groups } = params.values
      const columns = Math.ceil(width4 / (params.nest === 'tiled' ? lanesN * groups : groups))
      const walks = softmax === 'apart' ? 2 : 0
      if (kind === 'software') return 1.5 * blocks * (products + (elements * (30 + 15 * (columns + walks))) / 2)
      return blocks * (products + (elements * 16 * (2 + columns + walks)) / 2000 + 5000)
    },
    scratch: (request, params) => scratchBytes(logitsOf(request, cutOf(params))),
    emit: (request, params) => emit(request, params, softmax),
    bytes: (request, params) => logitBytesMoved(logitsOf(request, cutOf(params)), softmax),
    tolerance,
  }
}

/** Each walk reads or writes all logits once: written, read for the statistics, for the product; apart, weighed in between. */
function logitBytesMoved(logits: Logits, softmax: Softmax): number {
  return logits.blocks * logitScratchBytes(logits)[0] * (softmax === 'apart' ? 5 : 3)
}

export const partialSoftmaxAttention = variant('partial-softmax', 'fused')

/** Nothing fused: what the paper begins with, to compare with. */
export const plainAttention = variant('plain', 'apart')
