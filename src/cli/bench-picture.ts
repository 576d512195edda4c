// `phosphene bench picture`: whole pictures, as a user of the library draws them.
import type { Command } from 'commander'
import type { PictureBench } from '../report/bench-picture.ts'
import { wholeNumberFor } from './arguments.ts'
import { addBenchOptions, type BenchFlags, benchOptions, headText } from './bench-options.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { megabytes, milliseconds } from './units.ts'
import { version } from './version.ts'

interface PictureFlags extends BenchFlags {
  readonly prompt?: string
  readonly steps?: number
  readonly sampler?: string
}

export function addBenchPicture(bench: Command, terminal: Terminal): void {
  addBenchOptions(bench.command('picture').description('draw pictures one after the other'))
    .option('--steps <number>', 'steps of the sampler', wholeNumberFor('--steps', 1))
    .option('--sampler <name>', 'see `phosphene samplers`')
    .option('--prompt <text>', 'what to draw')
    .action(async (flags: PictureFlags) => {
      const { benchPicture } = await import('../report/bench-picture.ts')
      const { prompt, steps, sampler } = flags
      const report = await benchPicture({ ...benchOptions(flags, terminal), prompt, steps, sampler })
      terminal.out(flags.json ? `${JSON.stringify({ version, ...report })}\n` : text(report))
    })
}

function text(report: PictureBench): string {
  const { stages, pictures, pictureMs } = report
  const rows = {
    picture: pictureMs,
    'text, both prompts': stages.encodeMs,
    step: stages.stepMs,
    decode: stages.decodeMs,
  }
  return [
    headText(report),
    `${report.steps} steps of ${report.sampler}, guidance ${report.guidanceScale}, ${pictures} pictures after the first\n\n`,
    table([
      ['', 'median', 'least', 'most'],
      ...Object.entries(rows).map(([name, { median, least, most }]) => [
        name,
        ...[median, least, most].map(milliseconds),
      ]),
    ]),
    `\nfirst step after ${milliseconds(report.loadToFirstStepMs)}, first picture after ${milliseconds(report.firstPictureMs)}\n`,
    `${megabytes(report.weightBytes)} of weights, ${megabytes(report.arenaBytes)} of intermediates\n`,
    report.repeatable
      ? 'the first picture came out the same at the end\n'
      : 'the first picture came out DIFFERENT at the end\n',
  ].join('')
}
