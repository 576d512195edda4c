// `phosphene inspect`: what a model consists of and what it will take.
import type { Command } from 'commander'
import type { ComponentReport, InspectReport } from '../report/inspect.ts'
import { oneOfFor, wholeNumberFor } from './arguments.ts'
import { starterFolder } from './starter.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'

interface InspectFlags {
  readonly width?: number
  readonly height?: number
  readonly count?: number
  readonly dtype: 'f32' | 'f16'
  readonly device?: 'gpu' | 'software'
  readonly adapter?: string
  readonly json?: boolean
}

export function addInspect(program: Command, terminal: Terminal): void {
  program
    .command('inspect')
    .description('show the components, graphs, kernels and memory of a model, without running it')
    .argument('[model]', 'a diffusers folder', starterFolder)
    .option('-W, --width <pixels>', 'width', wholeNumberFor('--width', 1))
    .option('-H, --height <pixels>', 'height', wholeNumberFor('--height', 1))
    .option('-c, --count <number>', 'pictures at once', wholeNumberFor('--count', 1))
    .option('--dtype <type>', 'f32 or f16', oneOfFor('--dtype', ['f32', 'f16']), 'f16')
    .option(
      '-d, --device <name>',
      "gpu or software: plan for this machine's adapter, not for any",
      oneOfFor('--device', ['gpu', 'software']),
    )
    .option('--adapter <name>', 'part of the name of the adapter')
    .option('--json', 'print one JSON object on stdout')
    .action(async (model: string, { json, ...options }: InspectFlags) => {
      const { inspectFolder } = await import('../report/inspect-node.ts')
      const report = await inspectFolder(model, options)
      terminal.out(json ? `${JSON.stringify(report)}\n` : text(report))
    })
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

function text(report: InspectReport): string {
  const { components, defaults } = report
  const head = [
    `${report.model}: ${report.className}`,
    `${report.width}×${report.height}, ${report.count} at once, ${report.dtype}`,
    `defaults: ${defaults.steps} steps, guidance ${defaults.guidance}, sampler ${defaults.sampler ?? report.scheduler._class_name}`,
  ]
  const memory = table([
    ['component', 'parameters', 'file', 'multiply-adds', 'weights', 'arena', 'least possible', 'dispatches', 'shaders'],
    ...components.map(({ folder, parameters, fileBytes, graph, plan }) => [
      folder,
      `${(parameters / 1e6).toFixed(2)} M`,
      Object.entries(fileBytes)
        .map(([dtype, bytes]) => `${megabytes(bytes)} ${dtype}`)
        .join(' + '),
      `${(graph.macs / 1e9).toFixed(2)} G`,
      megabytes(plan.weightBytes),
      megabytes(plan.arenaBytes),
      megabytes(plan.liveLowerBoundBytes),
      String(plan.dispatches),
      String(plan.pipelines),
    ]),
  ])
  const sum = `planned: ${megabytes(report.weightBytes)} of weights, ${megabytes(report.arenaBytes)} in the largest arena\n`
  return `${head.join('\n')}\n\n${memory}${sum}\n${components.map(componentText).join('\n')}`
}

function componentText({ folder, file, graph, plan, unknownTensors }: ComponentReport): string {
  const shapes = (of: Readonly<Record<string, readonly number[]>>) =>
    Object.entries(of)
      .map(([name, shape]) => `${name} [${shape.join(', ')}]`)
      .join(', ')
  const counts = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')
  const lines = [
    `${folder}: ${file}`,
    `  graph: ${shapes(graph.inputs)} → ${shapes(graph.outputs)}`,
    `  ${graph.nodes} nodes: ${counts(graph.nodesByOp)}`,
    `  kernels: ${counts(plan.kernels)}`,
    `  largest binding ${megabytes(plan.largestBindingBytes)}, bytes moved a run ${megabytes(plan.bytesMoved)}`,
  ]
  if (unknownTensors.length > 0) lines.push(`  unknown tensors: ${unknownTensors.slice(0, 20).join(', ')}`)
  return `${lines.join('\n')}\n`
}
