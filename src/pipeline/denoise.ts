// From noise and conditions to latents: a sampler's rows around a model, for any model that predicts from latents and time.
import { PhospheneError } from '../error.ts'
import { throwIfAborted } from '../run/aborted.ts'
import type { Executor, HostTensor, Sampling, Session } from '../run/executor.ts'
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
  readonly onStep: (step: { index: number; elapsedMs: number; sampling: Sampling }) => void | Promise<void>
}

/** Final latents [n, h, w, c]. Raises 'latents/not-finite' naming the step, 'aborted'. */
export async function denoise(options: DenoiseOptions): Promise<Float32Array> {
  const { executor, model, run, signal } = options
  const sampling = await executor.sampling(model, { ...options, slots: run.slots })
  try {
    sampling.write('x', options.latents)
    for (const [index, stage] of run.stages.entries()) {
      throwIfAborted(signal)
      const start = performance.now()
      const noise = stage.drawsNoise ? options.noise() : undefined
      await sampling.step(stage, options.timestepInputs(stage.timestep), noise, signal)
      if (!(await sampling.finite())) throw notFinite(index, run, model.graph.name)
      await options.onStep({ index, elapsedMs: performance.now() - start, sampling })
    }
    return await sampling.read('x')
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
