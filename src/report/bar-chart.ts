// Horizontal bars as a self-contained SVG, readable in light and dark. Knows nothing of what it shows.
import { escapeHtml } from './html.ts'

export interface Bar {
  readonly label: string
  readonly value: number
  /** The figure, at the right edge. */
  readonly text: string
  /** Ours stand out from what they are compared with. */
  readonly kind: 'own' | 'own-lesser' | 'peer'
}

/** A line across the bars, e.g. a target. */
export interface Mark {
  readonly label: string
  readonly value: number
}

export interface Panel {
  readonly title: string
  readonly bars: readonly Bar[]
  readonly marks: readonly Mark[]
}

/** In pixels. */
const layout = {
  width: 860,
  margin: 24,
  labels: 250,
  values: 130,
  row: 26,
  bar: 16,
  head: 54,
  gap: 18,
  title: 52,
  note: 30,
}

/** A picture of all panels, one below the other, each with a scale of its own from 0. */
export function barCharts(title: string, panels: readonly Panel[], note: string): string {
  const { width, margin } = layout
  let top = layout.title
  const drawn = panels.map((panel) => {
    const text = panelText(panel, top)
    top += panelHeight(panel) + layout.gap
    return text
  })
  const height = top + layout.note
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeHtml(title)}">
<style>
  svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
  .ground { fill: #ffffff; } text { fill: #1f2328; } .faint { fill: #59636e; }
  .own { fill: #0b6bcb; } .own-lesser { fill: #79b3ea; } .peer { fill: #a3abb3; }
  .mark { stroke: #b35900; stroke-width: 1.5; stroke-dasharray: 4 3; } .mark-label { fill: #934700; font-size: 11px; }
  .title { font-size: 16px; font-weight: 600; } .panel { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; }
    .own { fill: #58a6ff; } .own-lesser { fill: #2f5e93; } .peer { fill: #656c76; }
    .mark { stroke: #e3a44a; } .mark-label { fill: #e3a44a; }
  }
</style>
<rect class="ground" width="${width}" height="${height}" rx="8"/>
<text class="title" x="${margin}" y="32">${escapeHtml(title)}</text>
${drawn.join('\n')}
<text class="faint" x="${margin}" y="${height - 16}" font-size="11">${escapeHtml(note)}</text>
</svg>
`
}

function panelHeight({ bars }: Panel): number {
  return layout.head + bars.length * layout.row
}

function panelText({ title, bars, marks }: Panel, top: number): string {
  const { width, margin, labels, values, row, bar, head } = layout
  const left = margin + labels
  const most = Math.max(...bars.map(({ value }) => value), ...marks.map(({ value }) => value))
  const x = (value: number) => tenth(left + (value / most) * (width - margin - values - left))
  const bottom = top + panelHeight({ title, bars, marks }) - 4
  const lines = marks.map(({ label, value }, i) => {
    // Labels of neighbouring lines take turns above and below each other's height.
    const y = top + head - 7 - (i % 2) * 13
    return `<line class="mark" x1="${x(value)}" x2="${x(value)}" y1="${y + 3}" y2="${bottom}"/><text class="mark-label" x="${tenth(x(value) + 3)}" y="${y}">${escapeHtml(label)}</text>`
  })
  const rows = bars.map(({ label, value, text, kind }, i) => {
    const y = top + head + i * row
    const base = y + bar - 3
    return [
      `<text x="${left - 10}" y="${base}" text-anchor="end">${escapeHtml(label)}</text>`,
      `<rect class="${kind}" x="${left}" y="${y}" width="${tenth(Math.max(1, x(value) - left))}" height="${bar}" rx="2"><title>${escapeHtml(`${label}: ${text}`)}</title></rect>`,
      `<text x="${width - margin}" y="${base}" text-anchor="end">${escapeHtml(text)}</text>`,
    ].join('')
  })
  return [`<text class="panel" x="${margin}" y="${top + 18}">${escapeHtml(title)}</text>`, ...rows, ...lines].join('\n')
}

function tenth(pixels: number): number {
  return Math.round(pixels * 10) / 10
}
