// A picture's settings in the words of A1111's web UI.
import { writeInfotext } from '../image/infotext.ts'
import { type Sampler, type SamplerName, samplers } from '../sampling/samplers.ts'
import type { ImageSettings } from './result.ts'

const scheduleLabels: Readonly<Record<string, string>> = {
  karras: 'Karras',
  exponential: 'Exponential',
  beta: 'Beta',
}

/** The text that goes into a PNG under `parameters`. */
export function infotextOf(settings: ImageSettings): string {
  return writeInfotext({
    prompt: settings.prompt,
    negativePrompt: settings.negative,
    fields: {
      Steps: settings.steps,
      Sampler: samplerLabel(settings.sampler),
      'Schedule type': settings.schedule && scheduleLabels[settings.schedule],
      'CFG scale': settings.guidanceScale,
      Seed: settings.seed,
      Size: `${settings.width}x${settings.height}`,
      Model: settings.model,
      'Clip skip': settings.clipSkip > 0 ? settings.clipSkip + 1 : undefined,
      RNG: settings.noise === 'cpu' ? 'CPU' : 'NV',
      Eta: settings.eta,
      'CFG rescale': settings.guidanceRescale > 0 ? settings.guidanceRescale : undefined,
      'Batch size': settings.batch > 1 ? settings.batch : undefined,
      'Batch pos': settings.batch > 1 ? settings.index : undefined,
      Version: 'phosphene',
    },
  })
}

function samplerLabel(name: string): string {
  const known: Sampler | undefined = samplers[name as SamplerName]
  return known?.a1111 ?? name
}
