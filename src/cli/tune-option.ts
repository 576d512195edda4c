// --tune, of every command that runs the engine's kernels as a picture would.
import type { Command } from 'commander'
import { type TuneMode, tuneModes } from '../pipeline/tune-options.ts'
import { oneOfFor } from './arguments.ts'
import type { Terminal } from './terminal.ts'

export interface TuneFlags {
  readonly tune?: TuneMode
}

export function addTuneOption(command: Command): Command {
  return command.option(
    '--tune <mode>',
    'measure kernels on the adapter to choose the fastest: full, cached (what was measured before), off (default: full on a GPU)',
    oneOfFor('--tune', tuneModes),
  )
}

/** Asked for by name where there is nothing to tune. */
export function tellOfTuning({ tune }: TuneFlags, device: 'gpu' | 'software' | 'cpu', terminal: Terminal): void {
  if (tune !== undefined && device === 'cpu')
    terminal.err("note: --tune has no effect on the CPU, whose kernels are ONNX Runtime's\n")
}
