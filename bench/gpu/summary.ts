// The results of all.sh as the JSON of bench/results/latest-gpu.json, on stdout. What was not run is null.
// Usage: node summary.js <results folder> <date>
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder = '', date = ''] = process.argv.slice(2)
if (!folder || !/^\d{4}-\d\d-\d\d$/.test(date)) {
  console.error('usage: summary.js <results folder> <date, as 2026-01-31>')
  process.exit(2)
}

/** What the scripts print; what was not run is absent. */
interface PictureRun {
  readonly pictureMs?: number
  readonly pictureMsSpread?: readonly number[]
  readonly loadToFirstStepMs?: number
  readonly stages?: { readonly encodeMs: number; readonly stepMs: number; readonly decodeMs: number }
  readonly pictures?: number
  readonly drifted?: number
  readonly memoryAfterThird?: { readonly bytes: number; readonly rss: number }
  readonly memoryAtEnd?: { readonly bytes: number; readonly rss: number }
}
type StepRun = Readonly<Partial<Record<'text' | 'unet' | 'vae', { readonly ms: number; readonly arenaBytes: number }>>>
type PeerRun = Readonly<
  Partial<Record<'phosphene' | 'onnxruntime', { readonly unet: number; readonly pictureMs: number }>>
>
interface TorchRun {
  readonly torch?: string
  readonly unetEagerMs?: number
  readonly unetGraphMs?: number
  readonly unetCompileGraphMs?: number
  readonly vaeMs?: number
  readonly pictureEagerMs?: number
  readonly pictureCompileMs?: number
}

const text = (file: string) => (existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8').trim() : '')

/** A file's last line as JSON, or an empty object where the run gave none. */
function json<T extends object>(file: string): Partial<T> {
  const last = text(file).split('\n').at(-1)!
  return last.startsWith('{') ? (JSON.parse(last) as T) : {}
}

const rounded = (value: number | undefined, digits = 1) => (value === undefined ? null : Number(value.toFixed(digits)))

function counts(files: readonly string[]): { passed: number; failed: number; runs: Record<string, string> } {
  const runs: Record<string, string> = {}
  let [passed, failed] = [0, 0]
  for (const file of files) {
    const match = text(`${file}.out`).match(/(\d+) passed, (\d+) failed$/)
    runs[file] = match ? match[0] : 'not run'
    passed += Number(match?.[1] ?? 0)
    failed += Number(match?.[2] ?? 0)
  }
  return { passed, failed, runs }
}

/** TFLOP/s of what the engine chose for a shape, multiply-adds counted twice. */
function rate(title: RegExp, macs: number): number | null {
  const measured = (text('micro.json') ? JSON.parse(text('micro.json')) : []) as {
    title: string
    chosen: object
    results: { variant: string; params: object; ms: number }[]
  }[]
  const job = measured.find((each) => title.test(each.title))
  const chosen = job?.results.find(
    ({ variant, params }) => JSON.stringify({ variant, params }) === JSON.stringify(job.chosen),
  )
  return chosen ? rounded((2 * macs) / chosen.ms / 1e9)! : null
}

const [adapter = '', driver = ''] = text('machine.out').split(', ')
const [picture, browser, cold] = ['picture', 'picture-browser', 'picture-cold'].map((name) =>
  json<PictureRun>(`${name}.out`),
) as [PictureRun, PictureRun, PictureRun]
const [step, browserStep] = [json<StepRun>('step.json'), json<StepRun>('step-browser.json')]
const [peer, torch] = [json<PeerRun>('peer.out'), json<TorchRun>('torch.out')]
const packages = (JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: Record<string, string> })
  .dependencies
const stepGpu = (steps: StepRun, pictures: PictureRun) => ({
  unetStepMs: rounded(steps.unet?.ms, 2),
  vaeDecodeMs: rounded(steps.vae?.ms, 2),
  textMs: rounded(steps.text?.ms, 2),
  pictureMs: rounded(pictures.pictureMs),
  pictureMsSpread: pictures.pictureMsSpread?.map((ms) => rounded(ms)) ?? null,
  stepMsInPicture: rounded(pictures.stages?.stepMs, 2),
  encodeMsInPicture: rounded(pictures.stages?.encodeMs, 2),
  decodeMsInPicture: rounded(pictures.stages?.decodeMs, 2),
  // What a step in a picture takes beyond the device's own time for one; below nothing is noise.
  hostStallMs: pictures.stages && steps.unet ? rounded(pictures.stages.stepMs - steps.unet.ms, 2) : null,
  loadToFirstStepMs: rounded(pictures.loadToFirstStepMs),
  unetArenaBytes: steps.unet?.arenaBytes ?? null,
})
console.log(
  JSON.stringify(
    {
      date,
      adapter,
      driver,
      versions: {
        node: process.versions.node,
        webgpu: packages.webgpu,
        'onnxruntime-node': packages['onnxruntime-node'],
        torch: torch.torch ?? null,
      },
      model: "SD 1.5's shapes, generated weights, f16, 512×512, 20 guided DDIM steps, batch 1",
      ...stepGpu(step, picture),
      loadToFirstStepMsColdShaderCache: rounded(cold.loadToFirstStepMs),
      ortPictureMs: rounded(peer.onnxruntime?.pictureMs),
      ortUnetStepMs: rounded(peer.onnxruntime?.unet),
      pictureMsBesideOrt: rounded(peer.phosphene?.pictureMs),
      torchEagerPictureMs: rounded(torch.pictureEagerMs),
      torchCompilePictureMs: rounded(torch.pictureCompileMs),
      torchEagerUnetStepMs: rounded(torch.unetEagerMs),
      torchGraphUnetStepMs: rounded(torch.unetGraphMs),
      torchCompileUnetStepMs: rounded(torch.unetCompileGraphMs),
      torchEagerVaeDecodeMs: rounded(torch.vaeMs),
      conv3x3_320_64_tflops: rate(/^conv2d/, 2 * 64 * 64 * 320 * 320 * 9),
      matmul4096_tflops: rate(/^matmul/, 4096 ** 3),
      browserLike: stepGpu(browserStep, browser),
      goldens: counts(['check-f16', 'check-f16-browser', 'check-f32', 'check-f32-browser']),
      kernelCases: counts([1, 2, 3, 4].flatMap((part) => [`kernels-${part}`, `kernels-browser-${part}`])),
      picturesInARow: {
        count: picture.pictures ?? null,
        different: picture.drifted ?? null,
        bufferBytes: picture.memoryAtEnd?.bytes ?? null,
        bufferBytesAfterThird: picture.memoryAfterThird?.bytes ?? null,
        hostBytesAfterThird: picture.memoryAfterThird?.rss ?? null,
        hostBytesAtEnd: picture.memoryAtEnd?.rss ?? null,
      },
    },
    null,
    2,
  ),
)
