// What a generation spent its time on, for those who asked to see it: stages on the host, and the kernels of each component.
import type { Executor, Session } from '../run/executor.ts'
import type { GenerationProfile, Stage } from './result.ts'

export interface Recorder {
  /** A stage that ended just now, begun at `startMs` on `performance.now()`'s clock. Stages may lie within each other. */
  ended(name: string, startMs: number): void
  /** A component runs: `timeKernels` is to time its kernels. */
  ran(component: string, session: Session): void
  /** Runs the components that have run once more, on whatever their inputs hold. They must still be loaded. */
  timeKernels(): Promise<void>
  profile(): Promise<GenerationProfile>
}

export function recorder({ profiler, description }: Executor): Recorder {
  const stages: Stage[] = []
  const components: GenerationProfile['components'][number][] = []
  const running = new Map<string, Session>()
  const ended = (name: string, startMs: number) => {
    stages.push({ name, startMs, endMs: performance.now() })
  }
  return {
    ended,
    ran(component, session) {
      running.set(component, session)
    },
    async timeKernels() {
      for (const [component, session] of profiler ? running : []) {
        const startMs = performance.now()
        const kernels = await profiler!.kernels(session)
        components.push({ component, startMs, kernels })
        ended(`timing the kernels of ${component}`, startMs)
      }
    },
    profile: async () => ({
      stages: stages.toSorted((a, b) => a.startMs - b.startMs),
      components,
      rates: components.length > 0 ? await profiler?.rates() : undefined,
      withoutKernels: profiler ? undefined : `${description} offers no timestamps: stages only, no kernels`,
    }),
  }
}
