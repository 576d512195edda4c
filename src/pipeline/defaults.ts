// What a model wants when the caller does not say: its phosphene.json, or what its scheduler config tells of it.
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'
import type { RawSchedulerConfig } from '../sampling/config.ts'

const file = 'phosphene.json'

const schema = v.strictObject({
  steps: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  guidance: v.optional(v.pipe(v.number(), v.finite(), v.minValue(0))),
  /** As --sampler takes it. */
  sampler: v.optional(v.string()),
  /** A picture's colours (0 to 1) from its latents, for previews: rows of `factors` are channels, columns r, g, b. */
  latent_to_rgb: v.optional(
    v.strictObject({
      factors: v.array(v.tuple([v.number(), v.number(), v.number()])),
      bias: v.tuple([v.number(), v.number(), v.number()]),
    }),
  ),
})

export type LatentToRgb = NonNullable<v.InferOutput<typeof schema>['latent_to_rgb']>

export interface ModelDefaults {
  readonly steps: number
  readonly guidance: number
  /** Undefined: the class that the scheduler's config names. */
  readonly sampler: string | undefined
  readonly latentToRgb: LatentToRgb | undefined
}

/**
 * @param text content of the model's phosphene.json, where it has one
 * Raises 'model/config', naming the key.
 */
export function modelDefaults(text: string | undefined, scheduler: RawSchedulerConfig): ModelDefaults {
  const own = text === undefined ? {} : parse(text)
  // Models distilled to a few steps (SD-Turbo) are published with this pair and want neither steps nor guidance.
  const turbo = scheduler.timestep_spacing === 'trailing' && (scheduler.prediction_type ?? 'epsilon') === 'epsilon'
  return {
    steps: own.steps ?? (turbo ? 1 : 20),
    guidance: own.guidance ?? (turbo ? 0 : 7.5),
    sampler: own.sampler,
    latentToRgb: own.latent_to_rgb,
  }
}

function parse(text: string): v.InferOutput<typeof schema> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw invalid(`is not JSON: ${(error as Error).message}`, error)
  }
  const result = v.safeParse(schema, json)
  if (result.success) return result.output
  const [issue] = result.issues
  throw invalid(`${v.getDotPath(issue) ?? 'the whole file'}: ${issue.message}`)
}

function invalid(what: string, cause?: unknown): PhospheneError {
  return new PhospheneError(
    {
      code: 'model/config',
      message: `${file}: ${what}`,
      fix: `Correct ${file} in the model folder (steps, guidance, sampler, latent_to_rgb), or remove it.`,
    },
    { cause },
  )
}
