// `phosphene bench picture`: whole pictures, as a user of the library draws them.
import type { Command } from 'commander'
import type { PictureBench } from '../report/bench-picture.ts'
import { wholeNumberFor } from './arguments.ts'
import { addBenchOptions, type BenchFlags, benchOptions, checkJson, headText, tell } from './bench-options.ts'
import { addOptimisationOptions, type OptimisationFlags, optimisationsOf } from './optimisation-options.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { addTuneOption, type TuneFlags, tellOfTuning } from './tune-option.ts'
import { megabytes, milliseconds } from './units.ts'

interface PictureFlags extends BenchFlags, OptimisationFlags, TuneFlags {
  readonly prompt?: string
  readonly steps?: number
  readonly sampler?: string
  readonly peer?: boolean
}

export function addBenchPicture(bench: Command, terminal: Terminal): void {
  const command = bench.command('picture').description('draw pictures one after the other')
  addTuneOption(addOptimisationOptions(addBenchOptions(command)))
    .option('--steps <number>', 'steps of the sampler', wholeNumberFor('--steps', 1))
    .option('--sampler <name>', 'see `phosphene samplers`')
    .option('--prompt <text>', 'what to draw')
    .option('--peer', "draw each in turns with ONNX Runtime's WebGPU provider on the same adapter")
    .action(async (flags: PictureFlags) => {
      await checkJson(flags)
      const { benchPicture } = await import('../report/bench-picture.ts')
      const report = await benchPicture({ ...benchOptions(flags, terminal), optimisations: optimisationsOf(flags) })
      tellOfTuning(flags, report.device, terminal)
      await tell(report, () => text(report), flags, terminal)
    })
}

function text(report: PictureBench): string {
  const { pictures, pictureMs, stages, peer } = report
  const rows = { picture: pictureMs, ...stages }
  const peerRows = peer && { picture: peer.pictureMs, ...peer.stages }
  const names = { picture: 'picture', encodeMs: 'text, both prompts', stepMs: 'step', decodeMs: 'decode' } as const
  const figures = ({ median, least, most }: PictureBench['pictureMs']) => [median, least, most].map(milliseconds)
  return [
    headText(report),
    `${report.steps} steps of ${report.sampler}, guidance ${report.guidanceScale}, ${pictures} pictures after the first\n\n`,
    table([
      ['', 'median', 'least', 'most', ...(peer ? ["peer's", 'least', 'most', 'ratio'] : [])],
      ...(Object.keys(names) as (keyof typeof names)[]).map((key) => [
        names[key],
        ...figures(rows[key]),
        ...(peerRows ? [...figures(peerRows[key]), (peerRows[key].median / rows[key].median).toFixed(2)] : []),
      ]),
    ]),
    `\nfirst step after ${milliseconds(report.loadToFirstStepMs)}, first picture after ${milliseconds(report.firstPictureMs)}\n`,
    `${megabytes(report.weightBytes)} of weights, ${megabytes(report.arenaBytes)} of intermediates\n`,
    report.repeatable
      ? 'the first picture came out the same at the end\n'
      : 'the first picture came out DIFFERENT at the end\n',
    peer ? `peer: ${peer.name}; its pictures differ by ${peer.pixelDifference.toFixed(2)} of 255\n` : '',
  ].join('')
}
