// What all of `phosphene bench`'s commands take.
import type { Command } from 'commander'
import type { BenchHead, BenchOptions } from '../report/bench-device.ts'
import { oneOfFor, wholeNumberFor } from './arguments.ts'
import { checkWritable, writeAll } from './output-files.ts'
import { starterFolder } from './starter.ts'
import type { Terminal } from './terminal.ts'
import { version } from './version.ts'

const devices = ['auto', 'gpu', 'software', 'cpu'] as const
const dtypes = ['auto', 'f32', 'f16'] as const

export type DeviceFlags = Pick<BenchOptions, 'device' | 'adapter' | 'dtype' | 'browserLike'> & {
  readonly rounds?: number
  /** true: on stdout; else the file to write. */
  readonly json?: boolean | string
}

export type BenchFlags = DeviceFlags & Omit<BenchOptions, 'signal' | 'onProgress'>

/** Adds the options that say what is measured, and on what. */
export function addBenchOptions(command: Command): Command {
  return addDeviceOptions(
    command
      .option('-m, --model <folder>', 'a diffusers folder', starterFolder)
      .option('-W, --width <pixels>', 'width', wholeNumberFor('--width', 1))
      .option('-H, --height <pixels>', 'height', wholeNumberFor('--height', 1))
      .option('-c, --count <number>', 'pictures in one batch', wholeNumberFor('--count', 1)),
  )
}

/** Those that say on what, for measurements without a model. */
export function addDeviceOptions(command: Command): Command {
  return command
    .option('-d, --device <name>', devices.join(', '), oneOfFor('--device', devices), 'auto')
    .option('--adapter <name>', 'part of the name of the adapter, see `phosphene doctor`')
    .option('--dtype <type>', dtypes.join(', '), oneOfFor('--dtype', dtypes), 'auto')
    .option('--browser-like', "no more of the adapter's features than a browser offers")
    .option('--rounds <number>', 'times that everything is measured', wholeNumberFor('--rounds', 1))
    .option('--json [file]', 'print one JSON object on stdout, or write it to a file beside the table')
}

/** The flags as what the measurements take, progress told on stderr. */
export function benchOptions<Flags extends DeviceFlags>(
  flags: Flags,
  terminal: Terminal,
): Omit<Flags, 'json'> & Pick<BenchOptions, 'signal' | 'onProgress'> {
  const { json: _, ...options } = flags
  return { ...options, signal: terminal.signal, onProgress: (what) => terminal.err(`${what}\n`) }
}

/** Raises 'output/unwritable' before anything is measured. */
export async function checkJson({ json }: DeviceFlags): Promise<void> {
  await checkWritable(typeof json === 'string' ? [json] : [])
}

/** A report as the flags ask for it: as JSON on stdout, as JSON in a file and text on stdout, or as text alone. */
export async function tell(
  report: object,
  text: () => string,
  { json }: DeviceFlags,
  terminal: Terminal,
): Promise<void> {
  const object = { version, ...report }
  if (typeof json === 'string') {
    const bytes = new TextEncoder().encode(`${JSON.stringify(object, undefined, 1)}\n`)
    await writeAll([{ path: json, bytes }], () => {})
  }
  terminal.out(json === true ? `${JSON.stringify(object)}\n` : text())
}

export function headText({ model, adapter, browserLike, dtype, width, height, count }: BenchHead): string {
  const batch = count > 1 ? `, ${count} at once` : ''
  return `${model}, ${width}×${height}${batch}, ${dtype}, on ${adapter}${browserLike ? ' (as in a browser)' : ''}\n`
}
