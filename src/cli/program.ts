// The command line as a function: arguments in, exit code out.
import { Command, CommanderError } from 'commander'
import { addBench } from './bench.ts'
import { addDoctor } from './doctor.ts'
import { report } from './failure.ts'
import { addGenerate } from './generate.ts'
import { addInspect } from './inspect.ts'
import { addQuantise } from './quantise.ts'
import { addSamplers } from './samplers.ts'
import type { Terminal } from './terminal.ts'
import { version } from './version.ts'

/** Codes with which commander says that it has shown what was asked for. */
const shown = new Set(['commander.helpDisplayed', 'commander.version'])

/** @param argv the arguments after the program's name */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command('phosphene')
    .description("Stable Diffusion on this machine's own GPU, or its CPU")
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: () => {}, // told below, in the form of all errors
    })
  addGenerate(program, terminal)
  addDoctor(program, terminal)
  addInspect(program, terminal)
  addQuantise(program, terminal)
  addBench(program, terminal)
  addSamplers(program, terminal)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError && shown.has(error.code)) return 0
    if (error instanceof CommanderError && error.code === 'commander.help') return 2 // no command: help went to stderr
    return report(error, terminal, argv.includes('--json'))
  }
}
