// The reports of `phosphene bench` and the trace of `generate --profile` where there is no npm, as one JSON object each.
// Usage: report.js kernels|layers|picture|ablation|trace <folder> [--browser] [--rounds N] [--only unet,vae] [--depth 2]
//   [--measured-limits] [--order removed|added] [--svg FILE] [--steps 20] [--size 512] [--kind gpu] [--adapter NAME] [--tune off|cached|full]
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import { openTextToImage } from '../../src/pipeline/open.ts'
import { traceOf } from '../../src/pipeline/trace.ts'
import type { TuneMode } from '../../src/pipeline/tune-options.ts'
import { ablationPlot } from '../../src/report/ablation-plot.ts'
import { benchAblation } from '../../src/report/bench-ablation.ts'
import { benchKernels, rowsByKernel, rowsByLayer } from '../../src/report/bench-kernels.ts'
import { benchPicture } from '../../src/report/bench-picture.ts'
import { nodeFolder } from '../../src/weights/node-files.ts'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    depth: { type: 'string' },
    'measured-limits': { type: 'boolean', default: false },
    order: { type: 'string', default: 'removed' },
    svg: { type: 'string' },
    steps: { type: 'string', default: '20' },
    size: { type: 'string', default: '512' },
    kind: { type: 'string', default: 'gpu' },
    adapter: { type: 'string' },
    tune: { type: 'string', default: 'off' },
  },
})
const [what = '', folder = ''] = positionals
const size = Number(values.size)
const kind = values.kind as 'gpu' | 'software'
const { adapter, browser: browserLike } = values
const tune = values.tune as TuneMode // figures are comparable where nothing is tuned
const options = {
  ...{ model: folder, device: kind, adapter, browserLike, width: size, height: size, rounds: Number(values.rounds) },
  onProgress: (text: string) => console.error(text),
}

async function kernels(): Promise<object> {
  const only = values.only?.split(',')
  const report = await benchKernels({ ...options, tune, only, measuredLimits: values['measured-limits'] })
  const depth = values.depth === undefined ? undefined : Number(values.depth)
  const components = report.components.map(({ nodes: _, ...rest }, i) => {
    const component = report.components[i]!
    const rows =
      what === 'kernels' ? rowsByKernel(component, report.rates) : rowsByLayer(component, report.rates, depth)
    return { ...rest, rows }
  })
  return { ...report, components }
}

async function ablation(): Promise<object> {
  const report = await benchAblation({ ...options, order: values.order as 'removed' | 'added' })
  if (values.svg) writeFileSync(values.svg, ablationPlot(report))
  return report
}

async function trace(): Promise<object> {
  const device = await openDevice({ kind, adapter, browserLike })
  const pipeline = await openTextToImage(nodeFolder(folder), undefined, async () => webgpuBackend(device))
  const steps = Number(values.steps)
  const request = { prompt: 'a photo of a cat', steps, width: size, height: size, seed: 1 }
  const { profile } = await pipeline.generate({ ...request, profile: true })
  const settings = { model: folder, steps, width: size, height: size }
  const made = traceOf(profile!, { device: pipeline.device, dtype: pipeline.dtype, settings })
  await pipeline.dispose()
  return made
}

const reports: Readonly<Record<string, () => Promise<object>>> = {
  kernels,
  layers: kernels,
  picture: () => benchPicture({ ...options, tune, steps: Number(values.steps) }),
  ablation,
  trace,
}
const report = reports[what]
if (!report || !folder) {
  console.error(`usage: report.js ${Object.keys(reports).join('|')} <folder>`)
  process.exit(2)
}
console.log(JSON.stringify(await report()))
process.exit(0)
