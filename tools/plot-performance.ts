// Draws docs/performance.svg from bench/results/latest-gpu.json: what was measured, beside targets and peers.
// After new results: npx vitest run tools/plot-performance.test.ts --update
import { readFileSync } from 'node:fs'
import { type Bar, barCharts, type Mark, type Panel } from '../src/report/bar-chart.ts'

/** A figure that was not measured is null or absent, and has no bar. */
type Figure = number | null | undefined

export interface GpuResults {
  readonly date: string
  readonly adapter: string
  readonly driver: string
  readonly model: string
  readonly unetStepMs: Figure
  readonly vaeDecodeMs: Figure
  readonly pictureMs: Figure
  readonly loadToFirstStepMs: Figure
  readonly ortPictureMs: Figure
  readonly torchEagerPictureMs: Figure
  readonly torchCompilePictureMs: Figure
  readonly torchEagerUnetStepMs?: Figure
  readonly torchGraphUnetStepMs?: Figure
  readonly torchCompileUnetStepMs?: Figure
  readonly torchEagerVaeDecodeMs?: Figure
  readonly conv3x3_320_64_tflops: Figure
  readonly matmul4096_tflops: Figure
  readonly browserLike: { readonly unetStepMs: Figure; readonly pictureMs: Figure }
}

const browser = 'Phosphene, as in a browser'
const [least, most] = [targets('≤', 'ms'), targets('≥', 'TFLOP/s')]

/** The SVG's text. Targets are those of the project's goals for one H100 or H200. */
export function performancePlot(results: GpuResults): string {
  const ms = (kind: Bar['kind'], label: string, value: Figure) => bar(kind, label, value, 'ms')
  const rate = (label: string, value: Figure) => bar('own', label, value, 'TFLOP/s')
  const panels: Panel[] = [
    {
      title: 'A guided UNet step (less is better)',
      bars: [
        ...ms('own', 'Phosphene', results.unetStepMs),
        ...ms('own-lesser', browser, results.browserLike.unetStepMs),
        ...ms('peer', 'PyTorch, eager', results.torchEagerUnetStepMs),
        ...ms('peer', 'PyTorch, eager, CUDA graph', results.torchGraphUnetStepMs),
        ...ms('peer', 'PyTorch, compiled, CUDA graph', results.torchCompileUnetStepMs),
      ],
      marks: least(20, 10),
    },
    {
      title: 'A picture of 20 steps (less is better)',
      bars: [
        ...ms('own', 'Phosphene', results.pictureMs),
        ...ms('own-lesser', browser, results.browserLike.pictureMs),
        ...ms('peer', 'PyTorch, eager', results.torchEagerPictureMs),
        ...ms('peer', 'PyTorch, compiled', results.torchCompilePictureMs),
        ...ms('peer', 'ONNX Runtime WebGPU', results.ortPictureMs),
      ],
      marks: least(600, 300),
    },
    {
      title: 'From nothing loaded to the first step (less is better)',
      bars: ms('own', 'Phosphene', results.loadToFirstStepMs),
      marks: least(5000, 2500),
    },
    {
      title: 'A convolution 3×3, 320 → 320 at 64², batch 2 (more is better)',
      bars: rate('Phosphene', results.conv3x3_320_64_tflops),
      marks: most(120, 250),
    },
    {
      title: 'A product of 4096³ (more is better)',
      bars: rate('Phosphene', results.matmul4096_tflops),
      marks: most(200, 400),
    },
  ]
  return barCharts(
    `Phosphene on one ${results.adapter}`,
    panels.filter(({ bars }) => bars.length > 0),
    `${results.model}. Driver ${results.driver}, ${results.date}. Broken lines: targets.`,
  )
}

function targets(sign: string, unit: string): (first: number, then: number) => readonly Mark[] {
  return (first, then) => [
    { value: first, label: `first ${sign} ${first} ${unit}` },
    { value: then, label: `then ${sign} ${then}` },
  ]
}

function bar(kind: Bar['kind'], label: string, value: Figure, unit: string): Bar[] {
  if (value === null || value === undefined) return []
  const digits = value < 100 ? 1 : 0
  return [{ kind, label, value, text: `${value.toFixed(digits)} ${unit}` }]
}

export function latestResults(): GpuResults {
  return JSON.parse(readFileSync(new URL('../bench/results/latest-gpu.json', import.meta.url), 'utf8')) as GpuResults
}
