// `phosphene quantize`: a model folder with weights in fewer bytes.
import type { Command } from 'commander'
import { quantisedWeights } from '../pipeline/weight-formats.ts'
import { oneOfFor } from './arguments.ts'
import type { Terminal } from './terminal.ts'
import { megabytes } from './units.ts'

interface QuantiseFlags {
  readonly output: string
  readonly weights: (typeof quantisedWeights)[number]
  readonly json?: boolean
}

export function addQuantise(program: Command, terminal: Terminal): void {
  program
    .command('quantize')
    .description('write a model folder whose weights take fewer bytes')
    .argument('<model>', 'a diffusers folder')
    .requiredOption('-o, --output <folder>', 'folder to write; must not exist')
    .requiredOption('--weights <format>', quantisedWeights.join(', '), oneOfFor('--weights', quantisedWeights))
    .option('--json', 'print one JSON object on stdout')
    .action(async (model: string, { output, weights, json }: QuantiseFlags) => {
      const { quantiseFolder } = await import('../pipeline/node-quantise.ts')
      const components = await quantiseFolder(model, output, {
        weights,
        signal: terminal.signal,
        onComponent: ({ folder, bytesBefore, bytesAfter, quantisedTensors, otherTensors }) =>
          terminal.err(
            `${folder}: ${megabytes(bytesBefore)} → ${megabytes(bytesAfter)}, ${quantisedTensors} tensors in ${weights}, ${otherTensors} in f16\n`,
          ),
      })
      terminal.out(json ? `${JSON.stringify({ folder: output, weights, components })}\n` : `${output}\n`)
    })
}
