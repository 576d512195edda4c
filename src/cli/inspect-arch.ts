// `phosphene inspect --arch`: what a model takes, from its configs alone.
import type { ArchReport, ComponentFigures } from '../report/arch.ts'
import { table } from './table.ts'
import { megabytes, prefixed } from './units.ts'

/** The figures as a table. */
export function archText({
  model,
  className,
  width,
  height,
  batch,
  dtype,
  weights,
  memoryBytes,
  components,
}: ArchReport): string {
  const limit = memoryBytes === undefined ? '' : `, within ${megabytes(memoryBytes)}`
  const head = `${model}: ${className}\n${width}×${height}, ${batch} at once, ${dtype}${weights === undefined ? '' : `, weights ${weights}`}${limit}\n\n`
  const row = (name: string, figures: ComponentFigures) => [
    name,
    prefixed(figures.macs),
    megabytes(figures.weightBytes),
    megabytes(figures.arenaBytes),
    megabytes(figures.liveLowerBoundBytes),
    megabytes(figures.stateBytes),
    megabytes(figures.bytesMoved),
    megabytes(figures.largestBindingBytes),
    String(figures.dispatches),
  ]
  return `${head}${table([
    [
      'component',
      'multiply-adds',
      'weights',
      'arena',
      'least alive',
      'state',
      'moved',
      'largest binding',
      'dispatches',
    ],
    ...Object.entries(components).map(([name, figures]) => row(name, figures)),
  ])}`
}
