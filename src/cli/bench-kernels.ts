// `phosphene bench kernels`: where a component's time goes, by kernel or by layer, and how far from the device's limit it is spent.
import type { Command } from 'commander'
import { PhospheneError } from '../error.ts'
import type { ComponentKernels, KernelBench, KernelRow } from '../report/bench-kernels.ts'
import { oneOfFor, wholeNumberFor } from './arguments.ts'
import { addBenchOptions, type BenchFlags, benchOptions, checkJson, headText, tell } from './bench-options.ts'
import { addOptimisationOptions, type OptimisationFlags, optimisationsOf } from './optimisation-options.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { addTuneOption, type TuneFlags } from './tune-option.ts'
import { megabytes, milliseconds, percent, prefixed } from './units.ts'

type Group = 'kernel' | 'layer'

interface KernelFlags extends BenchFlags, OptimisationFlags, TuneFlags {
  readonly only?: readonly string[]
  readonly measuredLimits?: boolean
  readonly by: Group
  readonly depth?: number
}

export function addBenchKernels(bench: Command, terminal: Terminal): void {
  const command = bench.command('kernels').description("time every kernel of a model's components")
  addTuneOption(addOptimisationOptions(addBenchOptions(command)))
    .option('--only <folders>', 'components to measure, e.g. unet,vae', (text: string) => text.split(','))
    .option('--measured-limits', "limits measured on this adapter, where the maker's would be taken")
    .option(
      '--by <name>',
      'what makes a row: kernel (what it computes) or layer (of the model)',
      oneOfFor('--by', ['kernel', 'layer']),
      'kernel',
    )
    .option('--depth <number>', 'modules of a name that make a layer, with --by layer', wholeNumberFor('--depth', 1))
    .action(async (flags: KernelFlags) => {
      const { by, depth, ...measured } = flags
      if (depth !== undefined && by !== 'layer')
        throw new PhospheneError({
          code: 'options/invalid',
          message: `--depth ${depth} tells how deep a layer is, and the rows are kernels`,
          fix: 'Add --by layer, or leave --depth out.',
        })
      await checkJson(flags)
      const { benchKernels, rowsByKernel, rowsByLayer } = await import('../report/bench-kernels.ts')
      const report = await benchKernels({
        ...benchOptions(measured, terminal),
        optimisations: optimisationsOf(flags),
      })
      const components = report.components.map((component) => ({
        ...component,
        rows: by === 'kernel' ? rowsByKernel(component, report.rates) : rowsByLayer(component, report.rates, depth),
      }))
      const bare = components.map(({ nodes: _, ...component }) => component)
      await tell({ ...report, components: bare }, () => text(report, components, by), flags, terminal)
    })
}

type Rows = ComponentKernels & { readonly rows: readonly KernelRow[] }

function text(report: KernelBench, components: readonly Rows[], by: Group): string {
  const parts = components.map((component) => `\n${componentText(component, by)}`)
  return `${headText(report)}${limitsText(report.rates)}${parts.join('')}`
}

function limitsText({
  bytesPerSecond,
  vectorOperationsPerSecond,
  matrixOperationsPerSecond,
  source,
}: KernelBench['rates']) {
  const matrix =
    matrixOperationsPerSecond === undefined ? '' : `, ${prefixed(matrixOperationsPerSecond)}FLOP/s on matrix units`
  const whose = source === 'published' ? "its maker's figures" : 'measured by short tests'
  return `limits: ${prefixed(bytesPerSecond)}B/s, ${prefixed(vectorOperationsPerSecond)}FLOP/s${matrix} (${whose})\n`
}

function componentText(component: Rows, what: Group): string {
  const { runMs, kernelMs, macs, bytesMoved, dispatches, arenaBytes } = component
  const head =
    `${component.component}: ${milliseconds(runMs.median)} a run (${milliseconds(runMs.least)} … ${milliseconds(runMs.most)}), ` +
    `its ${dispatches} kernels one by one ${milliseconds(kernelMs)}\n` +
    `${prefixed(macs)} multiply-adds, ${megabytes(bytesMoved)} moved, arena ${megabytes(arenaBytes)}\n`
  return (
    head +
    table([
      ['ms', 'of time', 'nodes', 'dispatches', 'FLOP/s', 'B/s', 'of limit', 'limited by', what],
      ...component.rows.map((row) => [
        milliseconds(row.milliseconds),
        percent(row.shareOfTime),
        String(row.nodes),
        String(row.dispatches),
        row.macs > 0 ? prefixed(row.teraflops * 1e12) : '–',
        prefixed(row.gigabytesPerSecond * 1e9),
        percent(row.share),
        row.limitedBy,
        row.name,
      ]),
    ])
  )
}
