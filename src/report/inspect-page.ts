// What `inspect` knows as one self-contained HTML page, light and dark: the arena over time, work by layer, what passes did, what
// remains unfused. Everything is drawn here; the page's own script only shows what the pointer is on, and searches.
import { arenaChart } from './arena-chart.ts'
import type { ComponentDetails } from './component-details.ts'
import { escapeHtml as e } from './html.ts'
import type { ComponentReport, InspectReport } from './inspect.ts'
import { layerOf, readableDepth } from './layers.ts'
import { pageScript, pageStyle } from './page-assets.ts'

/** The page's text. Raises RangeError for a report without details. */
export function inspectPage(report: InspectReport): string {
  const title = `${report.className}, ${report.width}×${report.height}, ${report.dtype}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${e(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${e(title)}</h1>
<p>${e(report.model)}, ${report.count} at once: ${megabytes(report.weightBytes)} of weights, ${megabytes(report.arenaBytes)} in the largest arena.</p>
<input type="search" placeholder="Search layers, ops and tensors, e.g. attn1 or conv2d" aria-label="Search">
</header>
${report.components.map(componentSection).join('\n')}
<div id="tip" role="status" hidden></div>
<script>${pageScript}</script>
</body>
</html>
`
}

function componentSection({ folder, file, plan, prelude, details }: ComponentReport): string {
  if (!details) throw new RangeError('the report was made without details')
  const facts = [
    ['multiply-adds', giga(plan.macs)],
    ...(prelude ? [['once a picture', giga(prelude.macs)]] : []),
    ['moved a run', megabytes(plan.bytesMoved)],
    ['weights', megabytes(plan.weightBytes + (prelude?.weightBytes ?? 0))],
    ['arena', megabytes(plan.arenaBytes)],
    ['least possible', megabytes(plan.liveLowerBoundBytes)],
    ['state', megabytes(plan.stateBytes)],
    ['dispatches', String(plan.dispatches)],
    ['shaders', String(plan.pipelines)],
    ['largest binding', megabytes(plan.largestBindingBytes)],
  ]
  return `<section>
<h2>${e(folder)}</h2>
<p class="faint">${e(file)}</p>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('')}</dl>
<h3>Arena over time</h3>
${peakText(details)}
${arenaChart(details, plan.arenaBytes)}
<h3>Work by layer</h3>
${layerTable(details)}
<h3>What each pass did</h3>
${passTable(details)}
<h3>What remains unfused</h3>
${unfusedTable(details, plan.bytesMoved)}
</section>`
}

function peakText({ steps, arena, peakStep }: ComponentDetails): string {
  const { scope, op, liveBytes } = steps[peakStep]!
  const living = arena
    .filter(({ first, last }) => first <= peakStep && peakStep <= last)
    .sort((a, b) => b.sizeBytes - a.sizeBytes)
  const some = living.slice(0, 6).map(({ label, sizeBytes }) => `<li>${megabytes(sizeBytes)} ${e(label)}</li>`)
  const rest = living.length > 6 ? `<li>and ${living.length - 6} smaller ones</li>` : ''
  return `<p>The peak is step ${peakStep + 1} of ${steps.length}, ${e(op)} of <b>${e(scope)}</b>, with ${megabytes(liveBytes)} alive:</p>
<ul>${some.join('')}${rest}</ul>`
}

interface Layer {
  macs: number
  bytes: number
  dispatches: number
  readonly ops: Map<string, number>
  /** Of its nodes: what a search for one of them finds. */
  readonly scopes: Set<string>
}

function layerTable({ steps }: ComponentDetails): string {
  const layers = new Map<string, Layer>()
  const depth = readableDepth(steps.map(({ scope }) => scope))
  for (const { scope, op, variant, macs, bytes, dispatches } of steps) {
    const name = layerOf(scope, depth)
    const layer = layers.get(name) ?? { macs: 0, bytes: 0, dispatches: 0, ops: new Map(), scopes: new Set() }
    layers.set(name, layer)
    layer.macs += macs
    layer.bytes += bytes
    layer.dispatches += dispatches
    layer.scopes.add(scope)
    layer.ops.set(`${op} ${variant}`, (layer.ops.get(`${op} ${variant}`) ?? 0) + 1)
  }
  const most = (of: (layer: Layer) => number) => Math.max(1, ...[...layers.values()].map(of))
  const [mostMacs, mostBytes] = [most((layer) => layer.macs), most((layer) => layer.bytes)]
  const rows = [...layers].map(([name, { macs, bytes, dispatches, ops, scopes }]) => {
    const kernels = [...ops].map(([kernel, count]) => `${count} ${kernel}`).join(', ')
    return row(`${[...scopes].join(' ')} ${kernels}`, [
      e(name),
      bar(macs / mostMacs, giga(macs)),
      bar(bytes / mostBytes, megabytes(bytes)),
      String(dispatches),
      `<span class="faint">${e(kernels)}</span>`,
    ])
  })
  return htmlTable(['layer', 'multiply-adds', 'bytes moved', 'dispatches', 'kernels'], rows)
}

function passTable({ passes }: ComponentDetails): string {
  const rows = passes.map(({ pass, nodesBefore, nodesAfter, changes }) => {
    const what = Object.entries(changes).map(([op, change]) => `${change > 0 ? '+' : '−'}${Math.abs(change)} ${op}`)
    return row(pass, [e(pass), String(nodesBefore), String(nodesAfter), e(what.join(', ')) || 'nothing to do'])
  })
  return htmlTable(['pass', 'nodes before', 'after', 'change'], rows)
}

function unfusedTable({ unfused }: ComponentDetails, bytesMoved: number): string {
  const sum = unfused.reduce((total, { bytes }) => total + bytes, 0)
  const rows = unfused.map(({ op, variant, scope, shape, bytes, after, before, reason }) =>
    row(`${scope} ${op} ${variant}`, [
      e(`${op} ${variant}`),
      e(scope),
      `<span class="one-line">[${shape.join(', ')}]</span>`,
      `<span class="one-line">${megabytes(bytes)}</span>`,
      `<span class="faint" data-tip="${e(`after ${after.join(', ') || 'the inputs'}\nbefore ${before.join(', ') || 'the outputs'}`)}">${e(reason)}</span>`,
    ]),
  )
  return `<p>${unfused.length} steps without multiply-adds move ${megabytes(sum)}, ${((100 * sum) / bytesMoved).toFixed(0)} % of all.</p>
${htmlTable(['op', 'layer', 'result', 'bytes', 'why'], rows)}`
}

function row(search: string, cells: readonly string[]): string {
  return `<tr data-search="${e(search)}">${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`
}

function htmlTable(head: readonly string[], rows: readonly string[]): string {
  return `<div class="wide"><table><thead><tr>${head.map((cell) => `<th>${cell}</th>`).join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`
}

function bar(share: number, text: string): string {
  return `<span class="bar"><i style="width:${(100 * share).toFixed(1)}%"></i><span>${text}</span></span>`
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`
}

function giga(macs: number): string {
  return `${(macs / 1e9).toFixed(2)} G`
}
