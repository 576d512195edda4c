// `phosphene bench ablation`: what each part of the engine is worth on this machine.
import type { Command } from 'commander'
import type { Ablation, AblationRow } from '../report/bench-ablation.ts'
import { oneOfFor } from './arguments.ts'
import { addBenchOptions, type BenchFlags, benchOptions, checkJson, headText, tell } from './bench-options.ts'
import { checkWritable, writeAll } from './output-files.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { megabytes, milliseconds, prefixed } from './units.ts'

interface AblationFlags extends BenchFlags {
  readonly order: 'removed' | 'added'
  readonly svg?: string
}

export function addBenchAblation(bench: Command, terminal: Terminal): void {
  addBenchOptions(bench.command('ablation').description('time the denoiser with parts of the engine switched off'))
    .option(
      '--order <name>',
      'removed: the full engine without one part at a time; added: from none to all',
      oneOfFor('--order', ['removed', 'added']),
      'removed',
    )
    .option('--svg <file>', 'write a plot as well')
    .action(async (flags: AblationFlags) => {
      const { svg, ...measured } = flags
      await checkJson(flags)
      await checkWritable(svg === undefined ? [] : [svg])
      const { benchAblation } = await import('../report/bench-ablation.ts')
      const report = await benchAblation(benchOptions(measured, terminal))
      if (svg !== undefined) {
        const { ablationPlot } = await import('../report/ablation-plot.ts')
        await writeAll([{ path: svg, bytes: new TextEncoder().encode(ablationPlot(report)) }], () => {})
      }
      await tell(report, () => text(report), flags, terminal)
    })
}

function text(report: Ablation): string {
  const time = ({ milliseconds: ms }: AblationRow) =>
    ms ? [milliseconds(ms.median), `${milliseconds(ms.least)} … ${milliseconds(ms.most)}`] : ['as full', '']
  const { median, least, most } = report.full.milliseconds
  return [
    headText(report),
    `one run of the ${report.component}; full: ${milliseconds(median)} (${milliseconds(least)} … ${milliseconds(most)})\n\n`,
    table([
      ['configuration', 'median', 'spread', 'ratio', 'multiply-adds', 'moved', 'dispatches', 'arena', 'difference'],
      ...report.rows.map((row) => [
        row.name,
        ...time(row),
        row.ratio.toFixed(2),
        prefixed(row.macs),
        megabytes(row.bytesMoved),
        String(row.dispatches),
        megabytes(row.arenaBytes),
        row.difference === 0 ? '0' : row.difference.toExponential(1),
      ]),
    ]),
    '\n',
    ...new Set(report.rows.flatMap(({ off }) => off.map(({ name, instead }) => `without ${name}: ${instead}\n`))),
  ].join('')
}
