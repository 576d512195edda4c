// A profile in Chrome's trace-event format, which chrome://tracing and Perfetto open: the host's stages on one track, the kernels
// on another, each with what it computed, at which rate, and how far from the device's limit.
import type { DeviceRates } from '../run/profiler.ts'
import { grouped, type NodeTime, nodeTimes, rate } from '../run/roofline.ts'
import type { DeviceSummary } from './backend-contract.ts'
import type { GenerationProfile, Stage } from './result.ts'

/** What the trace says about itself. */
export interface TraceAbout {
  readonly device: DeviceSummary
  readonly dtype: string
  /** Shown as they are, e.g. model, size and seed. */
  readonly settings: Readonly<Record<string, string | number>>
}

interface TraceEvent {
  readonly name: string
  /** X: a span; M: says something about a process or thread. */
  readonly ph: 'X' | 'M'
  readonly pid: number
  readonly tid: number
  /** Microseconds. */
  readonly ts?: number
  readonly dur?: number
  readonly cat?: string
  readonly args?: Readonly<Record<string, unknown>>
}

export interface Trace {
  readonly traceEvents: readonly TraceEvent[]
  readonly displayTimeUnit: 'ms'
  readonly otherData: Readonly<Record<string, unknown>>
}

const [host, device] = [1, 2]

/** The trace of a profile; `JSON.stringify` makes the file. Times count from the first stage. */
export function traceOf({ stages, components, rates, withoutKernels }: GenerationProfile, about: TraceAbout): Trace {
  const origin = Math.min(...stages.map((stage) => stage.startMs))
  const named = (pid: number, name: string): TraceEvent[] => [
    { name: 'process_name', ph: 'M', pid, tid: 0, args: { name } },
    { name: 'process_sort_index', ph: 'M', pid, tid: 0, args: { sort_index: pid } },
  ]
  const note = withoutKernels ?? 'one run of each component, each kernel in a pass of its own between two timestamps'
  return {
    traceEvents: [
      ...named(host, 'host'),
      ...named(device, `${about.device.kind}: ${about.device.name}`),
      { name: 'process_labels', ph: 'M', pid: device, tid: 0, args: { labels: note } },
      ...tracks(stages).flatMap(([track, each], i) => [
        { name: 'thread_name', ph: 'M', pid: host, tid: i + 1, args: { name: track } } as const,
        ...nested(each).map((stage) => stageEvent(stage, origin, i + 1)),
      ]),
      ...components.flatMap(({ component, startMs, kernels }) =>
        nodeTimes(kernels).flatMap((node) => nodeEvents(node, component, startMs - origin, rates)),
      ),
    ],
    displayTimeUnit: 'ms',
    otherData: {
      device: about.device.kind,
      adapter: about.device.name,
      dtype: about.dtype,
      ...about.settings,
      kernels: note,
      ...(rates ? { limits: limitsText(rates) } : {}),
    },
  }
}

/** Loading a component goes on beside everything else: on a track of its own. */
function tracks(stages: readonly Stage[]): [string, Stage[]][] {
  return [...grouped(stages, ({ name }) => (name.startsWith('load ') ? name : 'stages'))]
}

/** By their start, each within the one before or behind it: a stage that begins a moment before another ends waits for that. */
function nested(stages: readonly Stage[]): readonly Stage[] {
  const open: Stage[] = []
  return stages
    .toSorted((a, b) => a.startMs - b.startMs || b.endMs - a.endMs)
    .map((stage) => {
      while (open.length > 0 && open.at(-1)!.endMs <= stage.startMs) open.pop()
      const within = open.at(-1)
      const fits = within && stage.endMs > within.endMs ? { ...stage, startMs: within.endMs } : stage
      open.push(fits)
      return fits
    })
}

function stageEvent({ name, startMs, endMs }: Stage, origin: number, tid: number): TraceEvent {
  return { name, ph: 'X', cat: 'stage', pid: host, tid, ...span(startMs - origin, endMs - origin) }
}

/** The node, and within it its dispatches where it has several. */
function nodeEvents(
  node: NodeTime,
  component: string,
  offsetMs: number,
  rates: DeviceRates | undefined,
): readonly TraceEvent[] {
  const { scope, op, variant, shape, macs, bytes, kernels } = node
  const common = { ph: 'X', cat: component, pid: device, tid: 1 } as const
  const whole: TraceEvent = {
    ...common,
    name: `${op} ${variant}`,
    ...span(offsetMs + node.startMs, offsetMs + node.endMs),
    args: {
      op,
      variant,
      scope,
      shape,
      macs,
      bytes,
      milliseconds: node.milliseconds,
      ...(rates && ratesOf(node, rates)),
    },
  }
  if (kernels.length === 1) return [whole]
  const parts = kernels.map(
    ({ label, startMs, milliseconds }): TraceEvent => ({
      ...common,
      name: label,
      ...span(offsetMs + startMs, offsetMs + (startMs + milliseconds)),
      args: { scope },
    }),
  )
  return [whole, ...parts]
}

function ratesOf(node: NodeTime, rates: DeviceRates): Readonly<Record<string, unknown>> {
  const { teraflops, gigabytesPerSecond, share, limitedBy } = rate([node], rates)
  return {
    'TFLOP/s': rounded(teraflops),
    'GB/s': rounded(gigabytesPerSecond),
    'share of the limit': rounded(share),
    'limited by': limitedBy,
  }
}

function limitsText(rates: DeviceRates): string {
  const tera = (perSecond: number) => rounded(perSecond / 1e12)
  const matrix = rates.matrixOperationsPerSecond
  return [
    `${tera(rates.bytesPerSecond)} TB/s`,
    `${tera(rates.vectorOperationsPerSecond)} TFLOP/s`,
    ...(matrix === undefined ? [] : [`${tera(matrix)} TFLOP/s on matrix units`]),
    rates.source,
  ].join(', ')
}

/** Both ends rounded alike, to the nanosecond: spans that touch or lie within each other do so in the file too. */
function span(startMs: number, endMs: number): { readonly ts: number; readonly dur: number } {
  const [start, end] = [Math.round(startMs * 1e6), Math.round(endMs * 1e6)]
  return { ts: start / 1e3, dur: (end - start) / 1e3 }
}

function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
