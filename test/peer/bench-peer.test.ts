// What the bench commands say beside ONNX Runtime's WebGPU provider, which brings a Dawn of its own into the process: `npm run
// test:peer`. Figures are held against each other, never against a clock.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { copyModel, type ScratchFolder, scratchFolder } from '../damaged-model.ts'
import { runCli } from '../run-cli.ts'

let scratch: ScratchFolder
beforeEach(() => {
  scratch = scratchFolder()
})
afterEach(() => scratch.dispose())

const inScratch = (name: string) => join(scratch.path, name)
const adapter = ['--device', 'software', '--adapter', 'swiftshader']
const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0)

const cli = (...argv: string[]) => runCli(argv)

interface LayerRow {
  readonly name: string
  readonly shapes: readonly (readonly number[])[]
  readonly macs: number
  readonly ms: number
  readonly peerMs: number
  readonly ratio: number
  readonly spread: Readonly<Record<'ms' | 'peerMs', { readonly median: number; readonly least: number }>>
  readonly difference: number
  readonly error: number
  readonly peerError: number
  readonly variants: readonly string[]
}

describe('bench layers', () => {
  it('measures layers in turns with ONNX Runtime’s WebGPU provider and compares the results', async () => {
    const file = inScratch('layers.json')
    const about = ['--only', 'conv 1×1', '--macs', '5', '--rounds', '2', ...adapter]
    const { code, out, err } = await cli('bench', 'layers', ...about, '--json', file)
    expect(code, err).toBe(0)
    const report = JSON.parse(readFileSync(file, 'utf8'))
    expect(report).toMatchObject({ device: 'software', dtype: 'f32', rounds: 2 })
    expect(report.adapter).toMatch(/SwiftShader/)
    expect(report.peer).toMatch(/^ONNX Runtime .*WebGPU/)
    const cases: LayerRow[] = report.cases
    expect(cases.map(({ name }) => name)).toEqual(['conv 1×1 320→320', 'conv 1×1 1920→640'])
    for (const { name, shapes, macs, ms, peerMs, ratio, spread, difference, error, peerError, variants } of cases) {
      expect(macs, name).toBeLessThanOrEqual(5e6)
      expect(macs, name).toBe(shapes[0]!.reduce((a, b) => a * b) * (name.endsWith('320→320') ? 320 : 640))
      expect(ratio, name).toBeCloseTo(peerMs / ms)
      expect([spread.ms.median, spread.peerMs.median], name).toEqual([ms, peerMs])
      expect(spread.ms.least, name).toBeGreaterThan(0)
      for (const each of [difference, error, peerError]) expect(each, name).toBeLessThan(1e-5)
      expect(variants, name).toHaveLength(1)
    }
    const logs = cases.map(({ ratio }) => Math.log(ratio))
    expect(report.geometricMean).toBeCloseTo(Math.exp(sum(logs) / logs.length))
    expect(out).toMatch(/^geometric mean of the ratios: \d/m)
    expect(out).toContain('conv 1×1 1920→640')
  })
})

describe('bench picture', () => {
  it('--peer draws each in turns with ONNX Runtime’s WebGPU provider, and compares the pictures', async () => {
    const about = [
      '--model',
      copyModel(scratch),
      '--width',
      '64',
      '--height',
      '64',
      '--steps',
      '1',
      '--rounds',
      '1',
      ...adapter,
    ]
    const { code, out, err } = await cli('bench', 'picture', ...about, '--peer', '--json')
    expect(code, err).toBe(0)
    const report = JSON.parse(out)
    expect(report).toMatchObject({ device: 'software', dtype: 'f32', steps: 1, pictures: 1, repeatable: true })
    expect(report.ratio).toBeCloseTo(report.peer.pictureMs.median / report.pictureMs.median)
    expect(Object.keys(report.peer.stages)).toEqual(Object.keys(report.stages))
    expect(report.peer.stages.stepMs.median).toBeGreaterThan(0)
    expect(report.peer.pixelDifference).toBeGreaterThanOrEqual(0)
  })
})
