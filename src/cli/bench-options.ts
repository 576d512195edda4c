// What all of `phosphene bench`'s commands take.
import type { Command } from 'commander'
import type { BenchHead, BenchOptions } from '../report/bench-device.ts'
import { oneOfFor, wholeNumberFor } from './arguments.ts'
import { starterFolder } from './starter.ts'
import type { Terminal } from './terminal.ts'

const devices = ['auto', 'gpu', 'software', 'cpu'] as const
const dtypes = ['auto', 'f32', 'f16'] as const

export type BenchFlags = Omit<BenchOptions, 'signal' | 'onProgress'> & {
  readonly rounds?: number
  readonly json?: boolean
}

/** Adds the options that say what is measured, and on what. */
export function addBenchOptions(command: Command): Command {
  return command
    .option('-m, --model <folder>', 'a diffusers folder', starterFolder)
    .option('-W, --width <pixels>', 'width', wholeNumberFor('--width', 1))
    .option('-H, --height <pixels>', 'height', wholeNumberFor('--height', 1))
    .option('-c, --count <number>', 'pictures in one batch', wholeNumberFor('--count', 1))
    .option('-d, --device <name>', devices.join(', '), oneOfFor('--device', devices), 'auto')
    .option('--adapter <name>', 'part of the name of the adapter, see `phosphene doctor`')
    .option('--dtype <type>', dtypes.join(', '), oneOfFor('--dtype', dtypes), 'auto')
    .option('--browser-like', "no more of the adapter's features than a browser offers")
    .option('--rounds <number>', 'times that everything is measured', wholeNumberFor('--rounds', 1))
    .option('--json', 'print one JSON object on stdout')
}

/** The flags as what the measurements take, progress told on stderr. */
export function benchOptions(flags: BenchFlags, terminal: Terminal): BenchOptions & { readonly rounds?: number } {
  const { json: _, ...options } = flags
  return { ...options, signal: terminal.signal, onProgress: (what) => terminal.err(`${what}\n`) }
}

export function headText({ model, adapter, browserLike, dtype, width, height, count }: BenchHead): string {
  const batch = count > 1 ? `, ${count} at once` : ''
  return `${model}, ${width}×${height}${batch}, ${dtype}, on ${adapter}${browserLike ? ' (as in a browser)' : ''}\n`
}
