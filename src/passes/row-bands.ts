// Computes images in bands of rows: the same graph in pieces that need less memory at a time, exactly the same results.
// A kept value is stored, as a list of bands of which each may die when its readers are done, or it is a stream: computed band
// by band wherever a pass over the image asks for its rows, at most once a pass (rows that the next band needs as well live on).
// A norm needs its input's moments before it can begin: where that input is a stream, a pass is made for the moments alone.
import type { Graph, Node, Value } from '../graph/graph.ts'
import type { Conv2dAttrs, GroupNormAttrs } from '../ops/attrs.ts'
import { channelMoments } from '../ops/channel-moments.ts'
import { groupMoments } from '../ops/group-moments.ts'
import { joinRows } from '../ops/join-rows.ts'
import { normalise } from '../ops/normalise.ts'
import { sliceRows } from '../ops/slice-rows.ts'
import { type Division, rowInputs } from './band-division.ts'
import { type Rewriting, rewrite } from './rewrite.ts'

export interface BandSchedule extends Division {
  /** Kept values that are stored in bands; the others are streams. */
  readonly stored: ReadonlySet<Value>
  /** Rows of a band, of images of any size. */
  readonly rows: number
}

/** Rows `start` … of an image, one band below the other. */
interface Rows {
  readonly start: number
  readonly values: readonly Value[]
}

/** Rows whose moments are taken together, where bands have as many. */
const momentRows = 4

export function divideRows(graph: Graph, schedule: BandSchedule): Graph {
  const bands = new BandedValues(schedule)
  return rewrite(graph, (node, to) => (schedule.divided.has(node) ? bands.make(node, to) : undefined))
}

/** What is known of divided values of the old graph. */
class BandedValues {
  readonly schedule: BandSchedule
  readonly stored = new Map<Value, Rows>()
  /** Channel moments of norms' inputs, and the rows of their parts. */
  private readonly moments = new Map<Value, { readonly value: Value; readonly rows: number }>()
  private readonly statistics = new Map<Node, Value>()
  private readonly reaches = new Map<Value, number>()
  private readonly normed: ReadonlySet<Value>

  constructor(schedule: BandSchedule) {
    this.schedule = schedule
    this.normed = new Set(
      [...schedule.divided].flatMap(({ op, inputs }) => (op.name === 'groupNorm' ? [inputs[0]!] : [])),
    )
  }

  /** Passes over a kept value that is stored or that a norm reads. */
  make(node: Node, to: Rewriting): Value | 'drop' {
    const { kept, stored, whole, rows } = this.schedule
    const { output } = node
    const [isStored, isNormed] = [stored.has(output), this.normed.has(output)]
    if (!kept.has(output) || !(isStored || isNormed)) return 'drop'
    const height = output.shape[1]!
    const partRows = rows % momentRows === 0 ? momentRows : rows
    const pass = new Pass(this, to)
    const bands: Value[] = []
    const parts: Value[] = []
    for (let start = 0; start < height; start += rows) {
      const band = pass.compute(node, start, Math.min(start + rows, height))
      if (isStored) bands.push(band)
      if (isNormed) parts.push(channelMoments(band, partRows))
    }
    if (isNormed) this.moments.set(output, { value: joined(parts), rows: partRows })
    if (isStored) this.stored.set(output, { start: 0, values: bands })
    return whole.has(output) ? joined(bands) : 'drop'
  }

  /** Convolutions of several rows between the value and what is stored: so many rows below its own it needs of that. */
  reach(value: Value): number {
    const known = this.reaches.get(value)
    if (known !== undefined) return known
    const { divided, stored } = this.schedule
    const { node } = value
    const own = node?.op.name === 'conv2d' && node.inputs[1]!.shape[2]! > 1 ? 1 : 0
    const streams = node && divided.has(node) && !stored.has(value) ? rowInputs(node) : []
    const reach = own + Math.max(0, ...streams.map((x) => this.reach(x)))
    this.reaches.set(value, reach)
    return reach
  }

  /** Means and scales for a norm. */
  statisticsOf(norm: Node, to: Rewriting): Value {
    const known = this.statistics.get(norm)
    if (known) return known
    const [x, gamma] = norm.inputs as [Value, Value]
    const [, height, width] = x.shape as [number, number, number]
    const moments = this.moments.get(x) ?? {
      value: channelMoments(to.value(x), Math.min(momentRows, height)),
      rows: Math.min(momentRows, height),
    }
    this.moments.set(x, moments)
    const statistics = groupMoments(moments.value, to.value(gamma), {
      ...(norm.attrs as GroupNormAttrs),
      pixels: height * width,
      partPixels: moments.rows * width,
    })
    this.statistics.set(norm, statistics)
    return statistics
  }
}

/** One way over the image from top to bottom, with the streams that it takes along. */
class Pass {
  private readonly banded: BandedValues
  private readonly to: Rewriting
  private readonly streams = new Map<Value, { start: number; values: Value[]; end: number }>()

  constructor(banded: BandedValues, to: Rewriting) {
    this.banded = banded
    this.to = to
  }

  /** Rows start … end−1 of a divided node's result. */
  compute(node: Node, start: number, end: number): Value {
    return node.op.name === 'conv2d'
      ? this.convolve(node, start, end)
      : exactly(this.inline(node, start, end), start, end)
  }

  private convolve({ op, inputs, attrs, scope }: Node, start: number, end: number): Value {
    const [x, ...weights] = inputs as [Value, ...Value[]]
    const { stride, padding, upsample = 1 } = attrs as Conv2dAttrs
    const [top, right, , left] = padding
    const first = start * stride - top
    const last = (end - 1) * stride - top + weights[0]!.shape[2]!
    // Where rows are doubled, one of a pair may lie beyond: the padding is below zero then.
    const from = Math.max(0, Math.floor(first / upsample))
    const until = Math.min(x.shape[1]!, Math.ceil(last / upsample))
    const sides = [from * upsample - first, right, last - until * upsample, left] as const
    const cut: Conv2dAttrs = { ...(attrs as Conv2dAttrs), padding: sides }
    const rows = exactly(this.rows(x, from, until), from, until)
    return this.to.graph.add(op, [rows, ...weights.map(this.to.value)], cut as never, scope)
  }

  /** Rows start … end−1 of any value, and perhaps some more. */
  private rows(value: Value, start: number, end: number): Rows {
    const { divided, kept } = this.banded.schedule
    if (!value.node || !divided.has(value.node)) return { start, values: [cut(this.to.value(value), start, end)] }
    if (!kept.has(value)) return this.inline(value.node, start, end)
    return pieces(this.banded.stored.get(value) ?? this.stream(value, value.node, end), start, end)
  }

  private stream(value: Value, node: Node, end: number): Rows {
    const stream = this.streams.get(value) ?? { start: 0, values: [], end: 0 }
    this.streams.set(value, stream)
    const missing = end - stream.end
    // The first band of a pass reaches further down than the others, by what its readers need below theirs.
    const bands = missing > 0 ? Math.max(1, Math.round(missing / this.banded.schedule.rows)) : 0
    for (let left = bands; left > 0; left--) {
      const next = stream.end + Math.ceil((end - stream.end) / left)
      stream.values.push(this.compute(node, stream.end, next))
      stream.end = next
    }
    return stream
  }

  /** A result that is computed where it is asked for. */
  private inline(node: Node, start: number, end: number): Rows {
    const { op, attrs, scope } = node
    const again = (values: readonly Value[], own = attrs) => this.to.graph.add(op, values, own as never, scope)
    const inputs = rowInputs(node)
    if (inputs.length > 1) {
      // What reaches furthest down first: so that a stream which two inputs take along grows by whole bands.
      const order = inputs.toSorted((a, b) => this.banded.reach(b) - this.banded.reach(a))
      const rows = new Map(order.map((value) => [value, exactly(this.rows(value, start, end), start, end)]))
      return { start, values: [again(node.inputs.map((value) => rows.get(value) ?? this.to.value(value)))] }
    }
    const [x] = inputs as [Value]
    switch (op.name) {
      case 'conv2d':
        return { start, values: [this.convolve(node, start, end)] }
      case 'upsample': {
        const [, height, width] = node.output.shape as [number, number, number]
        const factor = height / x.shape[1]!
        const source = this.rows(x, Math.floor(start / factor), Math.ceil(end / factor))
        const enlarge = (band: Value) => again([band], { height: band.shape[1]! * factor, width })
        return { start: source.start * factor, values: source.values.map(enlarge) }
      }
      case 'groupNorm': {
        const source = this.rows(x, start, end)
        const statistics = this.banded.statisticsOf(node, this.to)
        const beta = this.to.value(node.inputs[2]!)
        return { ...source, values: source.values.map((band) => normalise(band, statistics, beta, scope)) }
      }
      default: {
        const source = this.rows(x, start, end)
        const one = (band: Value) => again(node.inputs.map((value) => (value === x ? band : this.to.value(value))))
        return { ...source, values: source.values.map(one) }
      }
    }
  }
}

function joined(bands: readonly Value[]): Value {
  return bands.length === 1 ? bands[0]! : joinRows(bands)
}

/** Rows start … end−1 of a band, by its own numbering. */
function cut(band: Value, start: number, end: number): Value {
  return start === 0 && end === band.shape[1]! ? band : sliceRows(band, start, end)
}

function exactly({ start: from, values }: Rows, start: number, end: number): Value {
  return cut(joined(values), start - from, end - from)
}

/** The bands, whole or in part, in which rows start … end−1 lie. */
function pieces(rows: Rows, start: number, end: number): Rows {
  const values: Value[] = []
  let at = rows.start
  for (const band of rows.values) {
    const next = at + band.shape[1]!
    if (next > start && at < end) values.push(cut(band, Math.max(start - at, 0), Math.min(end, next) - at))
    at = next
  }
  return { start, values }
}
