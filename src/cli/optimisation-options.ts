// What of the engine can be switched off, as options of every command that plans or runs it.
import type { Command } from 'commander'
import { attentionKinds, type Optimisations } from '../pipeline/optimisations.ts'
import { oneOfFor } from './arguments.ts'

export interface OptimisationFlags {
  /** Commander's form of --no-fusion: true unless it was given. */
  readonly fusion: boolean
  readonly normsOnLoad?: boolean
  readonly winograd: boolean
  readonly matrixUnits: boolean
  readonly attention?: (typeof attentionKinds)[number]
}

export function addOptimisationOptions(command: Command): Command {
  return command
    .option('--no-fusion', 'every layer of the model stays a kernel of its own')
    .option('--norms-on-load', 'products and convolutions normalise what they load: fewer bytes moved, more arithmetic')
    .option('--no-winograd', 'convolutions multiply every weight with every pixel')
    .option('--no-matrix-units', 'vector units alone, as in browsers')
    .option(
      '--attention <kind>',
      `${attentionKinds.join(', ')} (default: the fastest for each layer)`,
      oneOfFor('--attention', attentionKinds),
    )
}

export function optimisationsOf(flags: OptimisationFlags): Optimisations {
  const { fusion, normsOnLoad, winograd, matrixUnits, attention } = flags
  return { fusion, normsOnLoad, winograd, matrixUnits, attention }
}
