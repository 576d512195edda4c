// `phosphene bench`: measurements that anyone can repeat.
import type { Command } from 'commander'
import { addBenchAblation } from './bench-ablation.ts'
import { addBenchKernels } from './bench-kernels.ts'
import { addBenchLayers } from './bench-layers.ts'
import { addBenchPicture } from './bench-picture.ts'
import type { Terminal } from './terminal.ts'

export function addBench(program: Command, terminal: Terminal): void {
  const bench = program
    .command('bench')
    .description('measure kernels, layers, pictures, and what each part of the engine is worth')
  addBenchKernels(bench, terminal)
  addBenchLayers(bench, terminal)
  addBenchPicture(bench, terminal)
  addBenchAblation(bench, terminal)
}
