// `phosphene generate`: from the command line's words to files on the disk.
import type { Command } from 'commander'
import { PhospheneError } from '../error.ts'
import type { TextToImageOptions } from '../pipeline/options.ts'
import type { GenerationResult, Stage } from '../pipeline/result.ts'
import type { TextToImage } from '../pipeline/text-to-image.ts'
import { weightFormats } from '../pipeline/weight-formats.ts'
import { memoryFor, numberFor, oneOfFor, wholeNumberFor } from './arguments.ts'
import { addOptimisationOptions, type OptimisationFlags, optimisationsOf } from './optimisation-options.ts'
import { checkWritable, outputPaths, writeAll } from './output-files.ts'
import { progressDisplay } from './progress-display.ts'
import { starterFolder } from './starter.ts'
import type { Terminal } from './terminal.ts'
import { addTuneOption, type TuneFlags, tellOfTuning } from './tune-option.ts'

const devices = ['auto', 'gpu', 'cpu', 'software'] as const
const dtypes = ['auto', 'f32', 'f16'] as const

interface GenerateFlags extends OptimisationFlags, TuneFlags {
  readonly model: string
  readonly config?: string
  readonly vae?: string
  readonly negative?: string
  readonly seed?: number
  readonly steps?: number
  readonly cfg?: number
  readonly guidanceRescale?: number
  readonly eta?: number
  readonly clipSkip?: number
  readonly sampler?: string
  readonly schedule?: NonNullable<TextToImageOptions['schedule']>
  readonly prediction?: NonNullable<TextToImageOptions['prediction']>
  readonly noise?: 'cpu' | 'philox'
  readonly width?: number
  readonly height?: number
  readonly count: number
  readonly device: (typeof devices)[number]
  readonly adapter?: string
  readonly dtype: (typeof dtypes)[number]
  readonly weights?: (typeof weightFormats)[number]
  readonly memory?: number
  readonly keepLoaded?: boolean
  readonly saveLatents?: string
  readonly initLatents?: string
  readonly profile?: string
  readonly output?: string
  readonly json?: boolean
}

export function addGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command('generate')
    .description('draw pictures from words')
    .argument('[prompt]', 'what to draw', '')
    .option('-m, --model <path>', 'a diffusers folder, or a checkpoint in one .safetensors file', starterFolder)
    .option('--config <folder>', 'configs and tokenizer for a checkpoint in one file (default: by its kind)')
    .option('--vae <file>', "a VAE in a .safetensors file, in place of the model's")
    .option('-n, --negative <text>', 'what the picture should not show')
    .option('-s, --seed <number>', 'where the noise starts; random by default', wholeNumberFor('--seed'))
    .option('--steps <number>', 'steps of the sampler', wholeNumberFor('--steps', 1))
    .option('--cfg <number>', 'guidance scale; up to 1 means no guidance', numberFor('--cfg'))
    .option('--guidance-rescale <number>', '0 to 1: against washed-out guidance', numberFor('--guidance-rescale'))
    .option('--eta <number>', 'how random ddim and tcd are, 0 to 1', numberFor('--eta'))
    .option('--clip-skip <number>', 'last layers of the text encoder to leave out', wholeNumberFor('--clip-skip', 0))
    .option('--sampler <name>', 'see `phosphene samplers`')
    .option(
      '--schedule <name>',
      'spacing of the noise levels: normal, karras, exponential, beta',
      oneOfFor('--schedule', ['normal', 'karras', 'exponential', 'beta']),
    )
    .option(
      '--prediction <type>',
      'what the model predicts, against its config: epsilon, v_prediction, sample',
      oneOfFor('--prediction', ['epsilon', 'v_prediction', 'sample']),
    )
    .option('--noise <kind>', "cpu (torch's CPU) or philox (CUDA)", oneOfFor('--noise', ['cpu', 'philox']))
    .option('-W, --width <pixels>', 'width', wholeNumberFor('--width', 1))
    .option('-H, --height <pixels>', 'height', wholeNumberFor('--height', 1))
    .option('-c, --count <number>', 'pictures in one batch', wholeNumberFor('--count', 1), 1)
    .option('-d, --device <name>', devices.join(', '), oneOfFor('--device', devices), 'auto')
    .option('--adapter <name>', 'part of the name of the adapter, see `phosphene doctor`')
    .option('--dtype <type>', dtypes.join(', '), oneOfFor('--dtype', dtypes), 'auto')
    .option(
      '--weights <format>',
      `how weights are kept: ${weightFormats.join(', ')} (default: as the files have them)`,
      oneOfFor('--weights', weightFormats),
    )
    .option('--memory <MB>', 'allowed for everything but weights; more work where it is little', memoryFor('--memory'))
    .option('--keep-loaded', 'keep components loaded that the picture no longer needs')
    .option('--save-latents <file>', 'write the final latents as .safetensors')
    .option('--init-latents <file>', 'noise to start from, as .safetensors')
    .option('--profile <file>', 'write where the time went, for chrome://tracing and Perfetto')
    .option('-o, --output <file>', 'PNG to write; %d becomes the number of the picture (default: phosphene-SEED.png)')
    .option('--json', 'print one JSON object on stdout')
  addTuneOption(addOptimisationOptions(command)).action((prompt: string, flags: GenerateFlags) =>
    generate(prompt, flags, terminal),
  )
}

async function generate(prompt: string, flags: GenerateFlags, terminal: Terminal): Promise<void> {
  const start = performance.now()
  const seed = flags.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!
  const paths = outputPaths(flags.output ?? `phosphene-${seed}.png`, flags.count)
  await checkWritable([...paths, flags.saveLatents, flags.profile].filter((path) => path !== undefined))

  // Loaded here, so that --help and mistakes above cost nothing.
  const { openPipeline } = await import('../pipeline/open-node.ts')
  const { encodeLatents, loadLatents } = await import('../pipeline/node-latents.ts')
  const initLatents = flags.initLatents === undefined ? undefined : await loadLatents(flags.initLatents)
  const display = progressDisplay(terminal)
  let pipeline: TextToImage | undefined
  try {
    pipeline = await openPipeline(flags.model, {
      config: flags.config,
      vae: flags.vae,
      device: flags.device,
      adapter: flags.adapter,
      dtype: flags.dtype,
      weights: flags.weights,
      memoryBytes: flags.memory === undefined ? undefined : flags.memory * 1e6,
      keepLoaded: flags.keepLoaded ?? false,
      optimisations: optimisationsOf(flags),
      tune: flags.tune,
      onDevice: (choice) => terminal.err(`device: ${choice}\n`),
    })
    tellOfTuning(flags, pipeline.device.kind, terminal)
    const opened = performance.now()
    const warnings: string[] = []
    const options: TextToImageOptions = {
      prompt,
      negative: flags.negative,
      seed,
      steps: flags.steps,
      guidanceScale: flags.cfg,
      guidanceRescale: flags.guidanceRescale,
      eta: flags.eta,
      clipSkip: flags.clipSkip,
      sampler: flags.sampler,
      schedule: flags.schedule,
      prediction: flags.prediction,
      noise: flags.noise,
      width: flags.width,
      height: flags.height,
      count: flags.count,
      initLatents,
      profile: flags.profile !== undefined,
      signal: terminal.signal,
      onProgress(event) {
        if (event.kind === 'warning') warnings.push(event.message)
        display.show(event)
      },
    }
    const job = pipeline.check(options)
    const about = `seed ${seed}, ${job.steps} steps of ${job.sampler.name ?? job.sampler.className}, ${job.width}×${job.height}`
    terminal.err(`${about}, guidance ${job.guidanceScale}, ${pipeline.dtype}\n`)
    if (flags.sampler !== undefined && job.sampler.remark) terminal.err(`remark: ${job.sampler.remark}\n`)

    const result = await pipeline.generate(options)
    display.close()
    const writing = performance.now()
    const files = await Promise.all(
      result.images.map(async (image, i) => ({ path: paths[i]!, bytes: await image.png() })),
    )
    if (flags.saveLatents !== undefined) files.push({ path: flags.saveLatents, bytes: encodeLatents(result.latents) })
    await writeAll(files, () => stopIfAsked(terminal.signal))
    const end = performance.now()
    if (flags.profile !== undefined) {
      const around = [
        { name: 'open', startMs: start, endMs: opened },
        { name: 'write', startMs: writing, endMs: end },
      ]
      await writeTrace(flags, pipeline, result, around, terminal)
    }
    if (flags.json) {
      const timed = { writeMs: end - writing, totalMs: end - start }
      terminal.out(`${JSON.stringify(summary(flags, pipeline, result, paths, warnings, timed))}\n`)
    } else {
      terminal.out(paths.map((path) => `${path}\n`).join(''))
      terminal.err(`${about}: ${((end - start) / 1000).toFixed(1)} s\n`)
    }
  } finally {
    display.close()
    await pipeline?.dispose()
  }
}

/** @param around stages that the pipeline knows nothing of */
async function writeTrace(
  { profile: path, model }: GenerateFlags,
  { device, dtype }: TextToImage,
  { profile, images }: GenerationResult,
  around: readonly Stage[],
  terminal: Terminal,
): Promise<void> {
  const { traceOf } = await import('../pipeline/trace.ts')
  const { width, height, seed, steps, sampler } = images[0]!.settings
  const stages = [...profile!.stages, ...around]
  const settings = { model, width, height, seed, steps, sampler, pictures: images.length }
  const trace = traceOf({ ...profile!, stages }, { device, dtype, settings })
  const bytes = new TextEncoder().encode(`${JSON.stringify(trace)}\n`)
  await writeAll([{ path: path!, bytes }], () => stopIfAsked(terminal.signal))
  if (profile!.withoutKernels) terminal.err(`profile: ${profile!.withoutKernels}\n`)
}

function stopIfAsked(signal: AbortSignal): void {
  if (signal.aborted)
    throw new PhospheneError({ code: 'aborted', message: 'stopped as asked', fix: 'Run the command again.' })
}

/** What --json prints. */
function summary(
  flags: GenerateFlags,
  pipeline: TextToImage,
  { images, timings, memory }: GenerationResult,
  paths: readonly string[],
  warnings: readonly string[],
  { writeMs, totalMs }: { writeMs: number; totalMs: number },
): object {
  const { index: _, batch: __, model: ___, ...settings } = images[0]!.settings
  return {
    files: paths,
    ...(flags.saveLatents === undefined ? {} : { latentsFile: flags.saveLatents }),
    ...(flags.profile === undefined ? {} : { profileFile: flags.profile }),
    model: flags.model,
    ...settings,
    device: pipeline.device.kind,
    adapter: pipeline.device.name,
    dtype: pipeline.dtype,
    milliseconds: {
      load: timings.loadMs,
      encode: timings.encodeMs,
      steps: timings.stepMs,
      decode: timings.decodeMs,
      write: writeMs,
      total: totalMs,
    },
    weightBytes: memory.weightBytes,
    peakWeightBytes: memory.peakWeightBytes,
    arenaBytes: memory.arenaBytes,
    peakHostBytes: process.resourceUsage().maxRSS * 1024,
    warnings,
  }
}
