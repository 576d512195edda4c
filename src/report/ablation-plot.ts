// An ablation as a picture: one bar a configuration.
import { barCharts } from './bar-chart.ts'
import type { Ablation } from './bench-ablation.ts'

/** The SVG's text. */
export function ablationPlot(report: Ablation): string {
  const { adapter, browserLike, dtype, width, height, component, full, rows } = report
  const bars = rows.map(({ name, off, milliseconds, ratio }) => {
    const ms = (milliseconds ?? full.milliseconds).median
    return {
      label: name,
      value: ms,
      text: `${ms.toFixed(ms < 100 ? 1 : 0)} ms${off.length > 0 ? `, ${ratio.toFixed(2)}×` : ''}`,
      kind: off.length === 0 ? 'own' : 'own-lesser',
    } as const
  })
  return barCharts(
    `One run of the ${component} with parts of the engine switched off`,
    [{ title: 'Milliseconds, less is better', bars, marks: [] }],
    `${adapter}${browserLike ? ', as in a browser' : ''}; ${dtype}, ${width}×${height}; medians, × relative to the full engine in the same turns`,
  )
}
