// The page: a form around `openPipeline` and `generate`. All drawing is the library's business.
import { openPipeline, PhospheneError, type Picture, type ProgressEvent, type TextToImage } from 'phosphene'

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const [prompt, seed, steps] = ['prompt', 'seed', 'steps'].map((id) => element<HTMLInputElement>(id)) as [
  HTMLInputElement,
  HTMLInputElement,
  HTMLInputElement,
]
const size = element<HTMLSelectElement>('size')
const [draw, cancel] = [element<HTMLButtonElement>('draw'), element<HTMLButtonElement>('cancel')]
const progress = element<HTMLProgressElement>('progress')
const status = element('status')
const canvas = element<HTMLCanvasElement>('canvas')
const save = element<HTMLAnchorElement>('save')
const model = new URLSearchParams(location.search).get('model') ?? './starter'

let pipeline: TextToImage | undefined
let drawing: AbortController | undefined

/** Reads the model's configuration and finds the GPU; weights come with the first picture. */
async function open(): Promise<void> {
  pipeline = await openPipeline(new URL(model, location.href).href)
  status.textContent = `Ready: ${pipeline.device.name}, ${pipeline.dtype}.`
}

async function generate(signal: AbortSignal): Promise<void> {
  if (!pipeline) await open() // the device was lost since
  const start = performance.now()
  const { images } = await pipeline!.generate({
    prompt: prompt.value,
    seed: seed.value === '' ? undefined : seed.valueAsNumber,
    steps: steps.valueAsNumber,
    width: Number(size.value),
    height: Number(size.value),
    signal,
    onProgress: showProgress,
  })
  const [image] = images
  show(image!)
  status.textContent = `Seed ${image!.settings.seed}, ${((performance.now() - start) / 1000).toFixed(1)} s.`
  URL.revokeObjectURL(save.href)
  save.href = URL.createObjectURL(new Blob([new Uint8Array(await image!.png())], { type: 'image/png' }))
  save.download = `phosphene-${image!.settings.seed}.png`
  save.hidden = false
}

async function showProgress(event: ProgressEvent): Promise<void> {
  switch (event.kind) {
    case 'load':
      progress.value = event.doneBytes / event.totalBytes
      status.textContent = `Loading ${event.component}: ${(event.doneBytes / 1e6).toFixed(0)} of ${(event.totalBytes / 1e6).toFixed(0)} MB`
      break
    case 'tune':
      progress.value = event.done / event.total
      status.textContent = `Finding the fastest kernels for ${event.component}: ${event.done} of ${event.total}`
      break
    case 'step': {
      progress.value = event.step / event.steps
      status.textContent = `Step ${event.step} of ${event.steps}, ${(event.elapsedMs / 1000).toFixed(2)} s a step`
      const preview = await event.preview()
      if (preview) show(preview)
      break
    }
    case 'phase':
      progress.removeAttribute('value')
      status.textContent = { encode: 'Reading the prompt…', denoise: 'Drawing…', decode: 'Decoding…' }[event.phase]
      break
    case 'warning':
      console.warn(event.message)
  }
}

function show({ width, height, channels, pixels }: Picture): void {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255)
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < channels; c++) rgba[4 * i + c] = pixels[channels * i + c]!
  Object.assign(canvas, { width, height })
  canvas.getContext('2d')!.putImageData(new ImageData(rgba, width, height), 0, 0)
}

function showError(error: unknown): void {
  const { code, message, fix } =
    error instanceof PhospheneError ? error : { code: 'internal', message: String(error), fix: 'Please report this.' }
  element('error').hidden = false
  element('error-message').textContent = message
  element('error-fix').textContent = fix
  element('error-code').textContent = code
}

element('form').addEventListener('submit', async (event) => {
  event.preventDefault()
  drawing = new AbortController()
  element('error').hidden = true
  draw.disabled = true
  cancel.disabled = false
  try {
    await generate(drawing.signal)
  } catch (error) {
    const code = error instanceof PhospheneError ? error.code : 'internal'
    status.textContent = code === 'aborted' ? 'Cancelled.' : 'No picture.'
    if (code !== 'aborted') showError(error)
    if (code === 'device/lost') pipeline = undefined
  }
  progress.value = 0
  draw.disabled = false
  cancel.disabled = true
})
cancel.addEventListener('click', () => drawing?.abort())

try {
  await open()
  draw.disabled = false
} catch (error) {
  status.textContent = 'The page cannot draw here.'
  showError(error)
}
