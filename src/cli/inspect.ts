// `phosphene inspect`: what a model consists of and what it will take.
import type { Command } from 'commander'
import { weightFormats } from '../pipeline/weight-formats.ts'
import type { ComponentReport, InspectReport } from '../report/inspect.ts'
import type { Unfused } from '../report/unfused.ts'
import { memoryFor, oneOfFor, wholeNumberFor } from './arguments.ts'
import { archText } from './inspect-arch.ts'
import { addOptimisationOptions, type OptimisationFlags, optimisationsOf } from './optimisation-options.ts'
import { checkWritable, writeAll } from './output-files.ts'
import { starterFolder } from './starter.ts'
import { table } from './table.ts'
import type { Terminal } from './terminal.ts'
import { megabytes, percent } from './units.ts'

interface InspectFlags extends OptimisationFlags {
  readonly width?: number
  readonly height?: number
  readonly count?: number
  readonly dtype: 'f32' | 'f16'
  readonly device?: 'gpu' | 'software'
  readonly adapter?: string
  readonly weights?: (typeof weightFormats)[number]
  readonly arch?: string
  readonly batch?: number
  readonly memory?: number
  readonly unfused?: boolean
  readonly html?: string
  readonly json?: boolean
}

export function addInspect(program: Command, terminal: Terminal): void {
  const command = program
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
    .option(
      '--weights <format>',
      `how weights are kept: ${weightFormats.join(', ')} (default: as the files have them)`,
      oneOfFor('--weights', weightFormats),
    )
    .option('--memory <MB>', 'allowed for everything but weights', memoryFor('--memory'))
    .option('--arch <name>', 'plan without weights: sd15, sd21, sdxl, or the configs of a folder')
    .option('--batch <number>', 'pictures at once, with --arch', wholeNumberFor('--batch', 1))
    .option('--unfused', 'list what remains between the large kernels, with its bytes and the reason')
    .option('--html <file>', 'write a page: the arena over time, work by layer, what each pass did')
    .option('--json', 'print one JSON object on stdout')
  addOptimisationOptions(command).action(
    async (model: string, { json, unfused = false, html, arch, memory, ...flags }: InspectFlags) => {
      const memoryBytes = memory === undefined ? undefined : memory * 1e6
      const options = { ...flags, memoryBytes, optimisations: optimisationsOf(flags) }
      if (arch !== undefined) {
        const { inspectArchitecture } = await import('../report/inspect-node.ts')
        const report = await inspectArchitecture(arch, options)
        terminal.out(json ? `${JSON.stringify(report)}\n` : archText(report))
        return
      }
      await checkWritable(html === undefined ? [] : [html])
      const { inspectFolder } = await import('../report/inspect-node.ts')
      const report = await inspectFolder(model, { ...options, details: unfused || html !== undefined })
      if (html !== undefined) {
        const { inspectPage } = await import('../report/inspect-page.ts')
        await writeAll([{ path: html, bytes: new TextEncoder().encode(inspectPage(report)) }], () => {})
      }
      if (json) terminal.out(`${JSON.stringify(asJson(report, unfused))}\n`)
      else terminal.out(unfused ? unfusedText(report) : text(report))
    },
  )
}

/** Of the details only what was asked for by name: the rest is the page's. */
function asJson(report: InspectReport, unfused: boolean): object {
  const components = report.components.map(({ details, ...component }) =>
    unfused ? { ...component, unfused: details!.unfused } : component,
  )
  return { ...report, components }
}

/** Every step without multiply-adds by component and reason. */
function unfusedText({ model, width, height, count, dtype, components }: InspectReport): string {
  const head = `${model}: ${width}×${height}, ${count} at once, ${dtype}\n`
  const sections = components.map(({ folder, plan, details }) => {
    const { unfused } = details!
    const sum = unfused.reduce((total, { bytes }) => total + bytes, 0)
    const share = percent(sum / plan.bytesMoved)
    const reasons = [...new Set(unfused.map(({ reason }) => reason))].map((reason) => {
      const steps = unfused.filter((step) => step.reason === reason)
      const bytes = steps.reduce((total, step) => total + step.bytes, 0)
      return `\n${steps.length} ${steps.length === 1 ? 'step' : 'steps'}, ${megabytes(bytes)}: ${reason}\n${stepTable(steps)}`
    })
    return `\n${folder}: ${unfused.length} of ${details!.steps.length} steps multiply nothing and move ${megabytes(sum)}, ${share} of all\n${reasons.join('')}`
  })
  return `${head}${sections.join('')}`
}

function stepTable(steps: readonly Unfused[]): string {
  const names = (scopes: readonly string[], none: string) =>
    scopes.length > 2 ? `${scopes[0]} and ${scopes.length - 1} more` : scopes.join(', ') || none
  return table([
    ['  bytes', 'step', 'result', 'layer', 'after', 'before'],
    ...steps.map(({ bytes, op, variant, shape, scope, after, before }) => [
      `  ${megabytes(bytes)}`,
      `${op} ${variant}`,
      `[${shape.join(', ')}]`,
      scope,
      names(after, 'the inputs'),
      names(before, 'the outputs'),
    ]),
  ])
}

function text(report: InspectReport): string {
  const { components, defaults } = report
  const head = [
    `${report.model}: ${report.className}`,
    `${report.width}×${report.height}, ${report.count} at once, ${report.dtype}`,
    `defaults: ${defaults.steps} steps, guidance ${defaults.guidance}, sampler ${defaults.sampler ?? report.scheduler._class_name}`,
  ]
  const memory = table([
    ['component', 'parameters', 'file', 'multiply-adds', 'weights', 'arena', 'least possible', 'dispatches', 'shaders'],
    ...components.map(({ folder, parameters, fileBytes, plan, prelude }) => [
      folder,
      `${(parameters / 1e6).toFixed(2)} M`,
      Object.entries(fileBytes)
        .map(([dtype, bytes]) => `${megabytes(bytes)} ${dtype}`)
        .join(' + '),
      `${(plan.macs / 1e9).toFixed(2)} G`,
      megabytes(plan.weightBytes + (prelude?.weightBytes ?? 0)),
      megabytes(plan.arenaBytes),
      megabytes(plan.liveLowerBoundBytes),
      String(plan.dispatches),
      String(plan.pipelines),
    ]),
  ])
  const sum = `planned: ${megabytes(report.weightBytes)} of weights, ${megabytes(report.arenaBytes)} in the largest arena\n`
  return `${head.join('\n')}\n\n${memory}${sum}\n${components.map(componentText).join('\n')}`
}

function componentText({ folder, file, graph, plan, prelude, unknownTensors }: ComponentReport): string {
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
  if (prelude)
    lines.push(
      `  once a picture: ${(prelude.macs / 1e9).toFixed(2)} G multiply-adds in ${prelude.dispatches} ${prelude.dispatches === 1 ? 'dispatch' : 'dispatches'}; state ${megabytes(plan.stateBytes)}`,
    )
  if (unknownTensors.length > 0) lines.push(`  unknown tensors: ${unknownTensors.slice(0, 20).join(', ')}`)
  return `${lines.join('\n')}\n`
}
