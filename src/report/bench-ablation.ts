// The paper's ablation on this machine: one component with parts of the engine switched off, each configuration measured in turns
// with the full one, so that a clock that drifts touches both. Node only.
import type { Plan } from '../plan/plan.ts'
import { throwIfAborted } from '../run/aborted.ts'
import type { WebGpuSession } from '../run/webgpu/session.ts'
import { timeRuns } from '../run/webgpu/time-runs.ts'
import { configurations, planningOf, type Switch } from './ablation-configurations.ts'
import { type BenchHead, type BenchOptions, openBench, type PlanningOptions } from './bench-device.ts'
import { relativeDifference } from './difference.ts'
import { type Summary, summarise } from './statistics.ts'

export interface AblationOptions extends BenchOptions {
  /** Times that each pair is measured. */
  readonly rounds?: number | undefined
  /** 'removed': the full engine without one part at a time; 'added': from none to all, as in the paper. */
  readonly order?: 'removed' | 'added' | undefined
}

/** What a plan takes, whatever machine runs it. */
export interface PlanCounts {
  readonly macs: number
  readonly bytesMoved: number
  readonly dispatches: number
  readonly arenaBytes: number
  readonly weightBytes: number
}

export interface AblationRow extends PlanCounts {
  readonly name: string
  readonly off: readonly Pick<Switch, 'name' | 'instead'>[]
  /** A run of the component; undefined where the plan is the full one's, which then was not measured again. */
  readonly milliseconds: Summary | undefined
  /** Its median over the full configuration's in the same turns; 1 where the plan is the same. */
  readonly ratio: number
  /** Root mean square of the difference of the results, relative to the full one's. */
  readonly difference: number
}

export interface Ablation extends BenchHead {
  readonly component: string
  readonly order: 'removed' | 'added'
  /** The full configuration, over all turns. */
  readonly full: PlanCounts & { readonly milliseconds: Summary }
  readonly rows: readonly AblationRow[]
}

/** Measures the denoiser. Raises what `openBench` and loading raise. */
export async function benchAblation(options: AblationOptions): Promise<Ablation> {
  const { rounds = 7, order = 'removed', signal, onProgress = () => {} } = options
  const bench = await openBench(options)
  try {
    const denoiser = bench.components.find(({ folder }) => folder === bench.model.parts.denoiser.folder)!
    onProgress('full: loading')
    const full = await bench.load(denoiser)
    const wanted = await full.run({}, signal)
    const fullMs: number[] = []
    const rows: AblationRow[] = []
    const compare = async (name: string, planning: PlanningOptions) => {
      onProgress(`${name}: loading`)
      const session = await bench.load(denoiser, planning)
      try {
        const outputs = await session.run({}, signal)
        onProgress(`${name}: ${rounds} rounds`)
        return { difference: relativeDifference(outputs, wanted), ...(await inTurns(full, session, rounds, signal)) }
      } finally {
        session.dispose()
        await bench.device.settle()
      }
    }
    for (const configuration of configurations(order)) {
      throwIfAborted(signal)
      const planning = planningOf(configuration)
      const plan = configuration.off.length === 0 ? full.plan : bench.plan(denoiser, planning)
      const compared = samePlan(plan, full.plan) ? undefined : await compare(configuration.name, planning)
      fullMs.push(...(compared?.fullMs ?? []))
      rows.push({
        name: configuration.name,
        off: configuration.off.map(({ name, instead }) => ({ name, instead })),
        milliseconds: compared && summarise(compared.otherMs),
        ratio: compared ? summarise(compared.otherMs).median / summarise(compared.fullMs).median : 1,
        difference: compared?.difference ?? 0,
        ...countsOf(plan),
      })
    }
    if (fullMs.length === 0) fullMs.push(...(await inTurns(full, full, rounds, signal)).fullMs)
    const { plan } = full
    full.dispose()
    return {
      ...bench.head,
      component: denoiser.folder,
      order,
      full: { ...countsOf(plan), milliseconds: summarise(fullMs) },
      rows,
    }
  } finally {
    bench.device.destroy()
  }
}

/** Whether two plans are the same commands. */
function samePlan(a: Plan, b: Plan): boolean {
  const texts = (plan: Plan) => plan.steps.flatMap((step) => step.dispatches.map(({ wgsl }) => wgsl))
  const [of, other] = [texts(a), texts(b)]
  return of.length === other.length && of.every((wgsl, i) => wgsl === other[i])
}

async function inTurns(
  full: WebGpuSession,
  other: WebGpuSession,
  rounds: number,
  signal: AbortSignal | undefined,
): Promise<{ fullMs: readonly number[]; otherMs: readonly number[] }> {
  const repeats = async (session: WebGpuSession) =>
    Math.max(1, Math.min(20, Math.ceil(100 / (await timeRuns(session, 1)))))
  const [often, otherOften] = [await repeats(full), await repeats(other)]
  const times = { fullMs: [] as number[], otherMs: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    throwIfAborted(signal)
    times.fullMs.push(await timeRuns(full, often))
    times.otherMs.push(await timeRuns(other, otherOften))
  }
  return times
}

function countsOf({ steps, arenaBytes, weightBytes }: Plan): PlanCounts {
  return {
    macs: steps.reduce((sum, step) => sum + step.macs, 0),
    bytesMoved: steps.reduce((sum, step) => sum + step.bytesMoved, 0),
    dispatches: steps.reduce((sum, step) => sum + step.dispatches.length, 0),
    arenaBytes,
    weightBytes,
  }
}
