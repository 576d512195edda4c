// A picture's settings as text, in the form that AUTOMATIC1111's web UI writes and reads (modules/processing.py: create_infotext,
// modules/infotext_utils.py: parse_generation_parameters).

export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  /** `Steps`, `Sampler`, `Size` (`512x512`), … as text. */
  readonly fields: Readonly<Record<string, string>>
}

/** A1111's order; other fields stand between these and `Version`. */
const fieldOrder = [
  'Steps',
  'Sampler',
  'Schedule type',
  'CFG scale',
  'Image CFG scale',
  'Seed',
  'Face restoration',
  'Size',
  'Model hash',
  'Model',
  'VAE hash',
  'VAE',
  'Variation seed',
  'Variation seed strength',
  'Seed resize from',
  'Denoising strength',
  'Conditional mask weight',
  'Clip skip',
  'ENSD',
  'Token merging ratio',
  'Init image hash',
  'RNG',
  'NGMS',
  'Tiling',
]

function rank(key: string): number {
  if (key === 'Version') return fieldOrder.length + 1
  const index = fieldOrder.indexOf(key)
  return index < 0 ? fieldOrder.length : index
}

const negativeLabel = 'Negative prompt:'
/** A1111's pattern, but for the bound on a key's length, which keeps long prompts from taking quadratic time. */
const fieldPattern = /\s*(\w[\w \-/]{1,80}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g
/** With fewer pairs, a last line is taken for a part of the prompt. */
const fewestFields = 3

/** Fields that are undefined are left out. */
export function writeInfotext(settings: {
  readonly prompt: string
  readonly negativePrompt?: string
  readonly fields: Readonly<Record<string, string | number | undefined>>
}): string {
  const fields = Object.entries(settings.fields)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([key, value]) => `${key}: ${quote(String(value))}`)
  const lines = [settings.prompt]
  if (settings.negativePrompt) lines.push(`${negativeLabel} ${settings.negativePrompt}`)
  lines.push(fields.join(', '))
  return lines.join('\n').trim()
}

/** The settings in a text of that form. Texts of any other form come back as a prompt without fields. */
export function parseInfotext(text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = lines.at(-1)!
  const found = [...last.matchAll(fieldPattern)]
  const hasFields = found.length >= fewestFields
  const fields = hasFields ? found.map(([, key, value]) => [key!, unquote(value!)] as const) : []
  const prompt: string[] = []
  const negative: string[] = []
  let part = prompt
  for (const line of hasFields ? lines.slice(0, -1) : lines) {
    const trimmed = line.trim()
    if (!trimmed.startsWith(negativeLabel)) {
      part.push(trimmed)
      continue
    }
    part = negative
    part.push(trimmed.slice(negativeLabel.length).trim())
  }
  return { prompt: prompt.join('\n'), negativePrompt: negative.join('\n'), fields: Object.fromEntries(fields) }
}

/** JSON where the value would end early or be read differently otherwise. A1111 quotes for the first three only, and reads all. */
function quote(value: string): string {
  return /[,:\n]|^["\s]|\s$/.test(value) ? JSON.stringify(value) : value
}

function unquote(value: string): string {
  if (!/^".*"$/s.test(value)) return value
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'string' ? parsed : value
  } catch {
    return value // as A1111: a value that only looks quoted is taken as it is
  }
}
