// A sampler's rows on the host, for executors whose model gives its output there: f32 storage, f64 sums.
import { PhospheneError } from '../error.ts'
import type { HostTensor, Sampling, SamplingOptions, Session, StepRow } from './executor.ts'

type Slots = ReadonlyMap<string, Float32Array>

/** Runs `model` and rows over slots kept in host memory. Which executor loaded the model does not matter. */
export async function hostSampling(model: Session, options: SamplingOptions): Promise<Sampling> {
  const elements = options.shape.reduce((product, size) => product * size, 1)
  const slots = new Map(options.slots.map((name) => [name, new Float32Array(elements)]))
  let finite = true
  await model.hold(options.conditions)
  const slot = (name: string): Float32Array => slots.get(name) ?? unknownName(name, slots)
  return {
    depth: 1,
    write(name, values) {
      slot(name).set(values)
    },
    async step(row, inputs, noise, signal) {
      const outputs = await model.run(
        { ...inputs, [options.modelInput]: modelInput(slot('x'), row.inputScale, options.branches) },
        signal,
      )
      const raw = outputs[options.modelOutput]
      if (!raw) throw internal(`the model has no output ${options.modelOutput}`)
      if (!applyRow(row, slots, guide(raw, elements, options), noise)) finite = false
      return { finite, latents: () => slot('x').slice() }
    },
    dispose() {
      slots.clear()
    },
  }
}

/** x · scale, once for each branch. */
function modelInput(x: Float32Array, scale: number, branches: number): HostTensor {
  const input = new Float32Array(x.length * branches)
  for (let i = 0; i < input.length; i++) input[i] = x[i % x.length]! * scale
  return input
}

/** u + g · (c − u), with guidance rescale as diffusers' rescale_noise_cfg (Lin et al. 2023, arXiv:2305.08891, 3.4). */
function guide(raw: Float32Array, elements: number, options: SamplingOptions): ArrayLike<number> {
  if (options.branches === 1) return raw
  const { guidanceScale, guidanceRescale, shape } = options
  const guided = new Float64Array(elements)
  for (let i = 0; i < elements; i++) guided[i] = raw[i]! + guidanceScale * (raw[elements + i]! - raw[i]!)
  if (guidanceRescale === 0) return guided
  const perImage = elements / shape[0]!
  for (let start = 0; start < elements; start += perImage) {
    const ratio =
      deviation(raw.subarray(elements + start, elements + start + perImage)) /
      deviation(guided.subarray(start, start + perImage))
    const factor = guidanceRescale * ratio + 1 - guidanceRescale
    for (let i = start; i < start + perImage; i++) guided[i] = guided[i]! * factor
  }
  return guided
}

/** The standard deviation as torch.std gives it (n − 1). */
function deviation(values: Float32Array | Float64Array): number {
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let squares = 0
  for (const value of values) squares += (value - mean) ** 2
  return Math.sqrt(squares / (values.length - 1))
}

/** All new values come from the old ones. False where one is not finite. */
function applyRow(row: StepRow, slots: Slots, model: ArrayLike<number>, noise?: Float32Array): boolean {
  const x = slots.get('x') ?? unknownName('x', slots)
  const { x: ofX, model: ofModel, clip = Number.POSITIVE_INFINITY } = row.denoised
  const denoised = new Float64Array(x.length)
  for (let i = 0; i < x.length; i++) {
    const value = ofX * x[i]! + ofModel * model[i]!
    denoised[i] = Math.min(Math.max(value, -clip), clip)
  }
  const sources = new Map<string, ArrayLike<number>>([...slots, ['model', model], ['denoised', denoised]])
  if (noise) sources.set('noise', noise)
  let finite = true
  const results = row.updates.map(({ terms }) => {
    const sum = new Float64Array(x.length)
    for (const [name, coefficient] of Object.entries(terms)) {
      const source = sources.get(name) ?? unknownName(name, sources)
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + coefficient * source[i]!
    }
    if (!sum.every(Number.isFinite)) finite = false
    return sum
  })
  row.updates.forEach(({ slot }, i) => {
    ;(slots.get(slot) ?? unknownName(slot, slots)).set(results[i]!)
  })
  return finite
}

function unknownName(name: string, known: ReadonlyMap<string, unknown>): never {
  throw internal(`a sampler's row uses '${name}'; there are ${[...known.keys()].join(', ')}`)
}

function internal(message: string): PhospheneError {
  return new PhospheneError({ code: 'internal', message, fix: 'Report this with the sampler and the number of steps.' })
}
