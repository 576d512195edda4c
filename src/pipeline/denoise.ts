// From noise and conditions to latents: a sampler's rows around a model, for any model that predicts from latents and time.
import { PhospheneError } from '../error.ts'
import { throwIfAborted } from '../run/aborted.ts'
import type { Executor, HostTensor, Session, StepEnd } from '../run/executor.ts'
import type { SamplingRun } from '../sampling/stage.ts'

export interface DenoiseOptions {
  readonly executor: Executor
  readonly model: Session
  /** Names of the model's input for the latents and of its output. */
  readonly modelInput: string
  readonly modelOutput: string
  /** Inputs that stay, for all branches: [negative…, positive…]. */
  readonly conditions: Readonly<Record<string, HostTensor>>
  /** Inputs of one call at a timestep. */
  readonly timestepInputs: (timestep: number) => Readonly<Record<string, HostTensor>>
  readonly branches: 1 | 2
  readonly guidanceScale: number
  readonly guidanceRescale: number
  readonly run: SamplingRun
  /** [n, h, w, c], scaled already. */
  readonly latents: Float32Array
  readonly shape: readonly number[]
  readonly noise: () => Float32Array
  readonly signal?: AbortSignal | undefined
  /** Told of each step that is over. `latents` may be called until it returns. */
  readonly onStep: (step: { index: number; elapsedMs: number; latents: () => Float32Array }) => void | Promise<void>
}

/** Final latents [n, h, w, c]. Raises 'latents/not-finite' naming the step, 'aborted'. */
export async function denoise(options: DenoiseOptions): Promise<Float32Array> {
  const { executor, model, run, signal } = options
  const sampling = await executor.sampling(model, { ...options, slots: run.slots })
  const queued: { readonly queuedAt: number; readonly end: Promise<StepEnd> }[] = []
  let latents = options.latents
  let done = 0
  let lastEnd = 0
  const finishOne = async (): Promise<void> => {
    const { queuedAt, end } = queued.shift()!
    const step = await end
    const index = done++
    if (!step.finite) throw notFinite(index, run, model.graph.name)
    const now = performance.now()
    const elapsedMs = now - Math.max(queuedAt, lastEnd)
    lastEnd = now
    await options.onStep({ index, elapsedMs, latents: step.latents })
    if (done === run.stages.length) latents = step.latents()
  }
  try {
    sampling.write('x', options.latents)
    for (const stage of run.stages) {
      throwIfAborted(signal)
      const noise = stage.drawsNoise ? options.noise() : undefined
      const queuedAt = performance.now()
      const end = sampling.step(stage, options.timestepInputs(stage.timestep), noise, signal)
      end.catch(() => {}) // raised where its turn comes
      queued.push({ queuedAt, end })
      if (queued.length >= sampling.depth) await finishOne()
    }
    while (queued.length > 0) {
      throwIfAborted(signal)
      await finishOne()
    }
    return latents
  } finally {
    sampling.dispose()
  }
}

function notFinite(index: number, run: SamplingRun, model: string): PhospheneError {
  return new PhospheneError({
    code: 'latents/not-finite',
    message: `${model}: the latents are NaN or infinite after step ${index + 1} of ${run.stages.length} (timestep ${run.timesteps[index]})`,
    fix: 'Use --dtype f32, a lower guidance or another sampler; check that the weights are not damaged.',
  })
}
