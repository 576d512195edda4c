// `phosphene bench kernels` and `bench layers`: where a component's time goes, and how far from the device's limit it is spent.
import type { Command } from 'commander'
import type { ComponentKernels, KernelBench, KernelRow } from '../report/bench-kernels.ts'
import { wholeNumberFor } from './arguments.ts'
import { addBenchOptions, type BenchFlags, benchOptions, headText } from './bench-options.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { megabytes, milliseconds, percent, prefixed } from './units.ts'
import { version } from './version.ts'

interface KernelFlags extends BenchFlags {
  readonly only?: readonly string[]
  readonly measuredLimits?: boolean
}

export function addBenchKernels(bench: Command, terminal: Terminal): void {
  kernelOptions(bench.command('kernels').description('time every kernel, grouped by what it computes')).action(
    (flags: KernelFlags) =>
      benchBy(flags, terminal, 'kernel', async () => (await import('../report/bench-kernels.ts')).rowsByKernel),
  )
  kernelOptions(bench.command('layers').description('time every kernel, grouped by layer of the model'))
    .option('--depth <number>', 'modules of a name that make a layer', wholeNumberFor('--depth', 1))
    .action(({ depth, ...flags }: KernelFlags & { depth?: number }) =>
      benchBy(flags, terminal, 'layer', async () => {
        const { rowsByLayer } = await import('../report/bench-kernels.ts')
        return (component, rates) => rowsByLayer(component, rates, depth)
      }),
    )
}

function kernelOptions(command: Command): Command {
  return addBenchOptions(command)
    .option('--only <folders>', 'components to measure, e.g. unet,vae', (text: string) => text.split(','))
    .option('--measured-limits', "limits measured on this adapter, where the maker's would be taken")
}

type Grouping = (component: ComponentKernels, rates: KernelBench['rates']) => KernelRow[]

async function benchBy(
  flags: KernelFlags,
  terminal: Terminal,
  what: 'kernel' | 'layer',
  grouping: () => Promise<Grouping>,
): Promise<void> {
  const { benchKernels } = await import('../report/bench-kernels.ts')
  const { only, measuredLimits } = flags
  const report = await benchKernels({ ...benchOptions(flags, terminal), only, measuredLimits })
  const group = await grouping()
  const components = report.components.map((component) => ({ ...component, rows: group(component, report.rates) }))
  if (flags.json) {
    const bare = components.map(({ nodes: _, ...component }) => component)
    terminal.out(`${JSON.stringify({ version, ...report, components: bare })}\n`)
    return
  }
  terminal.out(`${headText(report)}${limitsText(report.rates)}`)
  for (const component of components) terminal.out(`\n${componentText(component, what)}`)
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

function componentText(component: ComponentKernels & { readonly rows: readonly KernelRow[] }, what: string): string {
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
