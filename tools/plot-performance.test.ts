// docs/performance.svg is what the tool makes of the latest results.
import { expect, test } from 'vitest'
import { latestResults, performancePlot } from './plot-performance.ts'

const texts = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!)

test('the plot in the documentation is that of the latest results', async () => {
  await expect(performancePlot(latestResults())).toMatchFileSnapshot('../docs/performance.svg')
})

test('bars have the lengths of their figures, and figures that are missing have none', () => {
  const missing = { torchGraphUnetStepMs: null, torchCompileUnetStepMs: undefined }
  const results = { ...latestResults(), unetStepMs: 20, torchEagerUnetStepMs: 40, ...missing }
  const svg = performancePlot({ ...results, browserLike: { unetStepMs: 80, pictureMs: null } })
  const [panel] = svg.split('A picture of 20 steps')
  const widths = [...panel!.matchAll(/<rect class="(?:own|own-lesser|peer)"[^>]* width="([\d.]+)"/g)].map((m) =>
    Number(m[1]),
  )
  expect(widths).toHaveLength(3)
  const [own, browser, eager] = widths as [number, number, number]
  expect(own / browser).toBeCloseTo(0.25, 2)
  expect(eager / browser).toBeCloseTo(0.5, 2)
  expect(texts(panel!)).toContain('20.0 ms')
  expect(texts(panel!)).not.toContain('PyTorch, eager, CUDA graph')
})

test('targets lie where bars of their length end', () => {
  const svg = performancePlot({ ...latestResults(), pictureMs: 600 })
  const panel = svg.split('A picture of 20 steps')[1]!
  const first = panel.match(/<rect class="own" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/)!
  const line = panel.match(/<line class="mark" x1="([\d.]+)"/)!
  expect(Number(line[1])).toBeCloseTo(Number(first[1]) + Number(first[2]), 0)
})
