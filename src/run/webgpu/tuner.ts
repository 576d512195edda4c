// Kernels measured on the device instead of estimated: the likeliest few for what takes a graph's time, as far as time is allowed;
// kept from run to run.
import type { Device } from '../../device/device.ts'
import type { Candidate } from '../../kernels/choose.ts'
import type { Family, Request } from '../../kernels/family.ts'
import { byMeasurement, likeliest } from '../../plan/measured-choices.ts'
import type { AskedKernel } from '../../plan/plan.ts'
import { requestKey, type SharedChoices } from '../../plan/shared-choices.ts'
import { throwIfAborted } from '../aborted.ts'
import { textHash } from '../text-hash.ts'
import { TuningRecord } from '../tuning-record.ts'
import type { TuningStore } from '../tuning-store.ts'
import { workingBytes } from './kernel-buffers.ts'
import { compileAhead, timeKernels } from './time-kernels.ts'

export interface TunerOptions {
  readonly store: TuningStore
  /** Milliseconds for measuring and the compiling that it takes, in all. 0: what is stored is used, and nothing measured. */
  readonly budgetMs: number
}

export interface TuningListener {
  readonly signal?: AbortSignal | undefined
  /** Bytes that measuring may take beside weights. */
  readonly memoryBytes?: number | undefined
  readonly onTuning?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

/** One measurement to make: a request, and how much of the graph's time it stands for. */
interface Job {
  readonly key: string
  readonly request: Request<unknown>
  readonly candidates: readonly Candidate[]
  readonly cost: number
}

/** What takes less than this part of a graph's time is not worth compiling kernels that may never run. */
const worthwhile = 0.01

export class Tuner {
  /** Changes when something was learnt: what was planned before may be planned better. */
  version = 0
  private readonly device: Device
  private readonly store: TuningStore
  private readonly name: string
  private readonly record: TuningRecord
  private leftMs: number
  private loaded: Promise<void> | undefined
  /** Components load beside each other; measurements wait for each other. */
  private turn: Promise<unknown> = Promise.resolve()
  private readonly known = new WeakMap<readonly Candidate[], { version: number; ranked: readonly Candidate[] }>()

  constructor(device: Device, { store, budgetMs }: TunerOptions) {
    // Not every browser tells of a device's adapter. Node's description names Dawn's toggles, which checks of bounds depend on.
    const { device: model, description } = (device.gpu.adapterInfo as GPUAdapterInfo | undefined) ?? {}
    const about = JSON.stringify([model, description, device.description, store.driver])
    this.device = device
    this.store = store
    this.leftMs = budgetMs
    this.name = `${device.description.name.replace(/[^\w.]+/g, '-').slice(0, 60)}-${textHash(about)}`
    this.record = new TuningRecord(about)
  }

  /** Reads what is stored: to be awaited before planning. */
  prepare(): Promise<void> {
    this.loaded ??= this.store.read(this.name).then((text) => {
      this.record.merge(text)
      this.version++
    })
    return this.loaded
  }

  /** The choices of `ranked` by what is known of their times. */
  ranked(ranked: SharedChoices): SharedChoices {
    return (family, request, forced) => {
      const estimated = ranked(family, request, forced)
      const known = this.known.get(estimated)
      if (known?.version === this.version) return known.ranked
      const measured = byMeasurement(estimated, this.record.times(requestKey(family, request), estimated))
      this.known.set(estimated, { version: this.version, ranked: measured })
      return measured
    }
  }

  /**
   * Measures what is asked for and not known, the costliest first, until time is over. Raises 'aborted' and 'device/lost'.
   * @param ranked the estimates
   */
  measure(asked: readonly AskedKernel[], ranked: SharedChoices, listener: TuningListener = {}): Promise<void> {
    const result = this.turn.then(() => this.work(asked, ranked, listener))
    this.turn = result.catch(() => {})
    return result
  }

  private async work(asked: readonly AskedKernel[], ranked: SharedChoices, listener: TuningListener): Promise<void> {
    if (this.leftMs <= 0) return
    const { signal, memoryBytes = Number.POSITIVE_INFINITY, onTuning = () => {} } = listener
    const start = performance.now()
    const deadline = start + this.leftMs
    const jobs = jobsOf(asked, ranked)
      .filter(({ key, candidates }) => this.record.times(key, candidates).size < candidates.length)
      .map((job) => ({ ...job, choices: job.candidates.map((each) => each.choice()) }))
      .filter(({ request, choices }) => workingBytes(request, choices) <= memoryBytes)
    let learnt = false
    try {
      for (const [i, { key, request, candidates, choices }] of jobs.entries()) {
        throwIfAborted(signal)
        if (performance.now() >= deadline) break
        onTuning(i, jobs.length)
        // A GPU computes while its driver compiles; where both are the CPU's work, one would be measured with the other.
        const next = jobs[i + 1]
        if (next && this.device.description.kind === 'gpu') compileAhead(this.device, next.choices)
        const times = await timeKernels(this.device, request, choices, { deadline, signal })
        for (const [c, nanoseconds] of times?.entries() ?? []) this.record.add(key, candidates[c]!, nanoseconds)
        learnt ||= times !== undefined
        if (i === jobs.length - 1) onTuning(jobs.length, jobs.length)
      }
    } finally {
      this.leftMs -= performance.now() - start
      if (learnt) {
        this.version++
        await this.save(listener)
      }
    }
  }

  private async save({ onWarning = () => {} }: TuningListener): Promise<void> {
    try {
      this.record.merge(await this.store.read(this.name)) // another process may have measured as well
      await this.store.write(this.name, this.record.text())
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      onWarning(`what kernels took could not be kept in ${this.store.label}, and will be measured again: ${why}`)
    }
  }
}

/** What is worth measuring, costliest first. */
function jobsOf(asked: readonly AskedKernel[], ranked: SharedChoices): Job[] {
  // Alike requests share their list of candidates.
  const groups = new Map<
    readonly Candidate[],
    { family: Family<unknown>; request: Request<unknown>; count: number; roomBytes: number }
  >()
  for (const { family, request, roomBytes } of asked) {
    const estimated = ranked(family, request)
    const known = groups.get(estimated) ?? { family, request, count: 0, roomBytes: 0 }
    groups.set(estimated, { ...known, count: known.count + 1, roomBytes: Math.max(known.roomBytes, roomBytes) })
  }
  const jobs = [...groups].map(([estimated, { family, request, count, roomBytes }]) => ({
    key: requestKey(family, request),
    request,
    candidates: likeliest(estimated, roomBytes),
    cost: count * estimated[0]!.cost,
  }))
  const all = jobs.reduce((sum, { cost }) => sum + cost, 0)
  return jobs
    .filter(({ candidates, cost }) => candidates.length > 1 && cost >= worthwhile * all)
    .sort((a, b) => b.cost - a.cost)
}
