// The arena over time as SVG: every tensor a box, from the step that writes it to the last that reads it, at its offset.
import type { ComponentDetails } from './component-details.ts'
import { escapeHtml as e } from './html.ts'

/** In pixels: the arena, what is alive below it, and the band between them. */
const layout = { width: 1160, left: 70, arena: 340, gap: 26, live: 90, bottom: 22 }

/** Ops with a colour of their own; others share the last. */
const colours = ['conv2d', 'matmul', 'attention', 'groupNorm', 'layerNorm', 'concat', 'pointwise'] as const

/** @param arenaBytes height of the chart in bytes */
export function arenaChart({ steps, arena, peakStep }: ComponentDetails, arenaBytes: number): string {
  const { width, left, arena: height, gap, live, bottom } = layout
  const total = height + gap + live + bottom
  const x = (step: number) => tenth(left + (step / steps.length) * (width - left))
  const y = (bytes: number) => tenth((bytes / arenaBytes) * height)
  const nameOf = (step: number) => steps[Math.min(step, steps.length - 1)]!
  const boxes = arena.map(({ label, sizeBytes, offset, first, last }) => {
    const tip = [
      label,
      `${megabytes(sizeBytes)} at ${megabytes(offset)}`,
      `from step ${first + 1} (${nameOf(first).op} ${nameOf(first).scope})`,
      last >= steps.length ? 'to the end' : `to step ${last + 1} (${nameOf(last).op} ${nameOf(last).scope})`,
    ].join('\n')
    const boxWidth = Math.max(0.6, x(Math.min(last + 1, steps.length)) - x(first))
    return `<rect class="${colourOf(label)}" x="${x(first)}" y="${y(offset)}" width="${tenth(boxWidth)}" height="${Math.max(0.4, y(sizeBytes))}" data-search="${e(label)}" data-tip="${e(tip)}"/>`
  })
  const base = height + gap + live
  const columns = steps.map(({ scope, op, variant, liveBytes, macs, bytes }, i) => {
    const tall = tenth((liveBytes / arenaBytes) * live)
    const tip = `step ${i + 1}: ${op} ${variant}\n${scope}\n${megabytes(liveBytes)} alive\n${(macs / 1e6).toFixed(1)} M multiply-adds, ${megabytes(bytes)} moved`
    return `<rect class="alive${i === peakStep ? ' peak' : ''}" x="${x(i)}" y="${tenth(base - tall)}" width="${tenth(Math.max(0.6, x(i + 1) - x(i)))}" height="${tall}" data-search="${e(`${scope} ${op} ${variant}`)}" data-tip="${e(tip)}"/>`
  })
  const axis = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = tenth(part * height)
    return `<line class="grid" x1="${left}" x2="${width}" y1="${at}" y2="${at}"/><text x="${left - 6}" y="${Math.min(height, at + 10)}" text-anchor="end">${megabytes(part * arenaBytes)}</text>`
  })
  const legend = [...colours, 'other'].map((name) => `<span class="key"><i class="${name}"></i>${name}</span>`).join('')
  const peak = x(peakStep + 0.5)
  return `<div class="wide"><svg viewBox="0 0 ${width} ${total}" width="${width}" height="${total}" role="img" aria-label="Who lives where in the arena, by step">
${axis.join('')}
${boxes.join('\n')}
<line class="peak-line" x1="${peak}" x2="${peak}" y1="0" y2="${base}"/>
<text x="${left - 6}" y="${height + gap + 10}" text-anchor="end">alive</text>
${columns.join('')}
<text x="${left}" y="${base + 16}">step 1</text><text x="${width}" y="${base + 16}" text-anchor="end">step ${steps.length}</text>
</svg></div>
<p class="legend">Offset downwards, steps to the right; coloured by the op that makes the tensor: ${legend}</p>`
}

function colourOf(label: string): string {
  const op = label.match(/(?:^|\/)([A-Za-z0-9]+)(?:#\d+)?(?: scratch \d+)?$/)?.[1]
  return colours.find((name) => name === op) ?? 'other'
}

function tenth(value: number): number {
  return Math.round(value * 10) / 10
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`
}
