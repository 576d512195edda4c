// The samplers as people know them elsewhere.
import { type Sampler, samplerNames, samplers } from '../sampling/samplers.ts'

export interface SamplerRow {
  readonly name: string
  /** diffusers' class, and what `from_config` gets beside the model's own config. */
  readonly diffusers: string
  readonly options: Readonly<Record<string, unknown>>
  readonly a1111: string | undefined
  readonly remark: string | undefined
}

export function samplerList(): readonly SamplerRow[] {
  return samplerNames.map((name) => {
    const { className, extra, a1111, remark }: Sampler = samplers[name]
    return { name, diffusers: className, options: extra, a1111, remark }
  })
}
