// What people see of speed and memory: `generate --profile`, `phosphene bench`, `inspect --unfused` and `--html`. Figures are held
// against the plan and against each other, never against a clock. What takes a peer is test/peer's.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { starterFolder } from '../src/cli/starter.ts'
import { copyModel, type ScratchFolder, scratchFolder } from './damaged-model.ts'
import { runCli } from './run-cli.ts'

let scratch: ScratchFolder
let model: string
beforeEach(() => {
  scratch = scratchFolder()
  model = copyModel(scratch)
})
afterEach(() => scratch.dispose())

const inScratch = (name: string) => join(scratch.path, name)
const swiftshader = ['--device', 'software', '--adapter', 'swiftshader']
const small = ['--width', '64', '--height', '64']

const cli = (...argv: string[]) => runCli(argv)

/** The command's one JSON object. */
async function json(...argv: string[]) {
  const { code, out, err } = await cli(...argv, '--json')
  expect(code, err).toBe(0)
  expect(out.trim().split('\n')).toHaveLength(1)
  return JSON.parse(out)
}

interface Planned {
  readonly folder: string
  readonly plan: { readonly macs: number; readonly dispatches: number; readonly bytesMoved: number }
}

/** What `inspect` plans for the same model on the same adapter, by component. */
async function planned(folder: string): Promise<Map<string, Planned['plan']>> {
  const { components } = await json('inspect', folder, ...small, ...swiftshader, '--dtype', 'f32')
  return new Map((components as Planned[]).map((each) => [each.folder, each.plan]))
}

const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0)

interface Event {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur: number
  readonly cat?: string
  readonly args?: Readonly<Record<string, number | string>>
}

const quick = (...more: string[]) => {
  const where = ['--output', inScratch('out.png'), '--profile', inScratch('trace.json')]
  return ['generate', 'a cat', '--model', model, '--steps', '2', ...small, ...where, ...more]
}

/** SwiftShader compiles a UNet's kernels for half a minute. */
const patient = { timeout: 300_000 }

describe('generate --profile', () => {
  it(
    'writes the host’s stages and every kernel of each component, with its work and its share of the limit',
    patient,
    async () => {
      const told = await json(...quick(...swiftshader))
      expect(told.profileFile).toBe(inScratch('trace.json'))
      const trace = JSON.parse(readFileSync(inScratch('trace.json'), 'utf8'))
      expect(trace.otherData).toMatchObject({ device: 'software', dtype: 'f32', width: 64, steps: 2 })
      expect(trace.otherData.limits).toMatch(/TB\/s, .* TFLOP\/s, measured$/)
      const events: Event[] = trace.traceEvents

      const stages = new Map(events.filter(({ cat }) => cat === 'stage').map((each) => [each.name, each]))
      for (const name of ['load text_encoder', 'load unet', 'load vae'])
        expect(stages.get(name)!.dur, name).toBeGreaterThan(0)
      const order = ['open', 'text', 'denoise', 'decode', 'write'].map((name) => stages.get(name)!)
      for (const [i, { ts, dur }] of order.slice(0, -1).entries())
        expect(order[i + 1]!.ts).toBeGreaterThanOrEqual(ts + dur)
      expect(order[0]!.ts).toBe(0)
      for (const name of ['step 1', 'step 2'])
        expect(isWithin(stages.get(name)!, stages.get('denoise')!), name).toBe(true)
      // What overlaps on one track lies within the other, as viewers ask.
      for (const a of stages.values())
        for (const b of stages.values())
          if (a !== b && a.tid === b.tid && a.ts <= b.ts && b.ts < a.ts + a.dur)
            expect(isWithin(b, a), `${b.name} in ${a.name}`).toBe(true)

      const plans = await planned(model)
      for (const [component, { macs, dispatches, bytesMoved }] of plans) {
        const kernels = events.filter(({ cat, ph }) => cat === component && ph === 'X')
        const nodes = kernels.filter(({ args }) => args?.op !== undefined)
        expect(sum(nodes.map(({ args }) => Number(args!.macs))), component).toBe(macs)
        expect(sum(nodes.map(({ args }) => Number(args!.bytes))), component).toBe(bytesMoved)
        // A node of several dispatches holds them; one of a single dispatch is it.
        const parts = kernels.filter(({ args }) => args?.op === undefined)
        const single = nodes.filter((node) => !parts.some((part) => isWithin(part, node)))
        expect(parts.length + single.length, component).toBe(dispatches)
        for (const { name, dur, args } of nodes) {
          expect(dur, name).toBeGreaterThan(0)
          expect(name).toBe(`${args!.op} ${args!.variant}`)
          expect(args!['share of the limit'], name).toBeGreaterThan(0)
          const expected = (2 * Number(args!.macs)) / Number(args!.milliseconds) / 1e9
          expect(args!['TFLOP/s']).toBeCloseTo(expected, 4)
        }
      }
      expect(events.some(({ args }) => args?.scope === 'mid_block.attentions.0.proj_in')).toBe(true)
    },
  )

  it('has stages alone where kernels cannot be timed, and says so', async () => {
    const { code, err } = await cli(...quick('--device', 'cpu'))
    expect(code, err).toBe(0)
    const { traceEvents, otherData } = JSON.parse(readFileSync(inScratch('trace.json'), 'utf8'))
    expect(otherData.kernels).toMatch(/^ONNX Runtime .* no kernels$/)
    expect(err).toContain(`profile: ${otherData.kernels}`)
    const spans = (traceEvents as Event[]).filter(({ ph }) => ph === 'X')
    expect(spans.map(({ name }) => name)).toEqual(expect.arrayContaining(['load unet', 'step 2', 'decode', 'write']))
    expect(spans.every(({ cat }) => cat === 'stage')).toBe(true)
  })

  it('refuses a file that cannot be written before any work begins', async () => {
    for (const profile of [inScratch('gone/trace.json'), inScratch('out.png')]) {
      const { code, err } = await cli(...quick('--device', 'cpu', '--profile', profile))
      expect(code).toBe(2)
      expect(err).toContain('code: output/unwritable')
      expect(err).not.toContain('device:')
    }
    expect(readdirSync(scratch.path)).toEqual(['model'])
  })
})

interface Row {
  readonly name: string
  readonly milliseconds: number
  readonly macs: number
  readonly nodes: number
  readonly dispatches: number
  readonly shareOfTime: number
  readonly share: number
  readonly teraflops: number
}

describe('bench kernels', () => {
  const text = ['--only', 'text_encoder', '--rounds', '2', ...small, ...swiftshader]

  it('tells every kernel once: what it did is what was planned', async () => {
    const report = await json('bench', 'kernels', ...text)
    expect(report).toMatchObject({ model: starterFolder, device: 'software', dtype: 'f32', browserLike: false })
    expect(report.rates.bytesPerSecond).toBeGreaterThan(0)
    const [component] = report.components
    const rows: Row[] = component.rows
    const plan = (await planned(starterFolder)).get('text_encoder')!
    expect(component).toMatchObject({ component: 'text_encoder', macs: plan.macs, dispatches: plan.dispatches })
    expect(component.bytesMoved).toBe(plan.bytesMoved)
    expect(sum(rows.map(({ macs }) => macs))).toBe(plan.macs)
    expect(sum(rows.map(({ dispatches }) => dispatches))).toBe(plan.dispatches)
    expect(sum(rows.map(({ shareOfTime }) => shareOfTime))).toBeCloseTo(1)
    expect(sum(rows.map(({ milliseconds }) => milliseconds))).toBeCloseTo(component.kernelMs)
    for (const { name, milliseconds, share } of rows) {
      expect(milliseconds, name).toBeGreaterThan(0)
      expect(share, name).toBeGreaterThan(0)
    }
    expect(rows.map(({ milliseconds }) => milliseconds)).toEqual(rows.map((r) => r.milliseconds).sort((a, b) => b - a))
    expect(component.runMs.least).toBeGreaterThan(0)
  })

  it('tells the same by layer, in the order of the model', async () => {
    const report = await json('bench', 'kernels', ...text, '--by', 'layer', '--depth', '3', '--browser-like')
    expect(report.browserLike).toBe(true)
    const rows: Row[] = report.components[0].rows
    expect(rows.map(({ name }) => name)).toEqual([
      'text_model.embeddings.token_embedding',
      ...[0, 1, 2, 3, 4].map((layer) => `text_model.encoder.layers.${layer}`),
      'text_model.final_layer_norm',
    ])
    expect(sum(rows.map(({ macs }) => macs))).toBe((await planned(starterFolder)).get('text_encoder')!.macs)
    const { out } = await cli('bench', 'kernels', ...text, '--by', 'layer', '--rounds', '1')
    expect(out).toMatch(/^limits: .*B\/s, .*FLOP\/s \(measured by short tests\)$/m)
    expect(out).toMatch(/of limit +limited by +layer\n/)
  })
})

describe('bench picture', () => {
  it('draws pictures in a row and sums up their stages', async () => {
    const about = ['--model', model, ...small, '--steps', '2', '--rounds', '3', '--device', 'cpu']
    const report = await json('bench', 'picture', ...about, '--sampler', 'euler')
    expect(report).toMatchObject({ device: 'cpu', width: 64, height: 64, steps: 2, sampler: 'euler', pictures: 3 })
    expect(report.repeatable).toBe(true)
    for (const { median, least, most } of [report.pictureMs, ...Object.values<never>(report.stages)]) {
      expect(least).toBeGreaterThan(0)
      expect(median).toBeGreaterThanOrEqual(least)
      expect(most).toBeGreaterThanOrEqual(median)
    }
    expect(report.firstPictureMs).toBeGreaterThan(report.loadToFirstStepMs)
    expect(report.pictureMs.most).toBeGreaterThan(report.stages.stepMs.least * 2)
  })
})

interface AblationRow {
  readonly name: string
  readonly off: readonly { readonly name: string }[]
  readonly milliseconds?: { readonly median: number }
  readonly ratio: number
  readonly difference: number
  readonly dispatches: number
  readonly bytesMoved: number
  readonly macs: number
}

describe('bench ablation', () => {
  it('measures each configuration against the full one, beside what no machine changes', patient, async () => {
    const about = ['--model', model, ...small, ...swiftshader, '--rounds', '1']
    const report = await json('bench', 'ablation', ...about, '--svg', inScratch('ablation.svg'))
    const rows = new Map((report.rows as AblationRow[]).map((row) => [row.name, row]))
    const unet = (await planned(model)).get('unet')!
    const full = rows.get('full')!
    expect(full).toMatchObject({ off: [], ratio: 1, macs: unet.macs, dispatches: unet.dispatches })
    expect(full.bytesMoved).toBe(unet.bytesMoved)
    expect(report.full.milliseconds.median).toBeGreaterThan(0)

    const unfused = rows.get('without fusion')!
    expect(unfused.dispatches).toBeGreaterThan(full.dispatches)
    expect(unfused.bytesMoved).toBeGreaterThan(full.bytesMoved)
    expect(unfused.macs).toBe(full.macs)
    const baseline = rows.get('baseline')!
    expect(baseline.off.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['fusion', 'flash attention', 'Winograd']),
    )
    expect(baseline.dispatches).toBeGreaterThanOrEqual(unfused.dispatches)
    expect(rows.get('without conditions held')!.macs).toBeGreaterThan(full.macs)
    // Software adapters offer no matrix units: the plan is the full one's, and is not measured twice.
    expect(rows.get('without matrix units')).toMatchObject({ ratio: 1, difference: 0, dispatches: full.dispatches })
    for (const { name, milliseconds, ratio, difference } of rows.values()) {
      expect(ratio, name).toBeGreaterThan(0)
      expect(difference, name).toBeLessThan(1e-4)
      if (milliseconds) expect(milliseconds.median, name).toBeGreaterThan(0)
    }
    const svg = readFileSync(inScratch('ablation.svg'), 'utf8')
    expect([...svg.matchAll(/<rect class="own/g)]).toHaveLength(rows.size)
  })
})

describe('inspect', () => {
  it('--unfused lists what multiplies nothing, with its bytes, its neighbours and the reason', async () => {
    const report = await json('inspect', model, ...small, '--unfused')
    const unet = report.components.find(({ folder }: Planned) => folder === 'unet')
    const steps: { op: string; scope: string; bytes: number; after: string[]; before: string[]; reason: string }[] =
      unet.unfused
    const norm = steps.find(({ scope }) => scope === 'mid_block.attentions.0.norm')!
    expect(norm).toMatchObject({ op: 'groupNorm', before: ['mid_block.attentions.0.proj_in'] })
    expect(norm.after).toEqual(['mid_block.resnets.0.conv2'])
    expect(norm.reason).toMatch(/mean and variance/)
    // Read and written once, in f16: [2, 2, 2, 32] at this size, and the norm's two parameters.
    const [rows, channels] = [8, 32]
    expect(norm.bytes).toBe(2 * (2 * rows * channels + 2 * channels))
    for (const { scope, bytes, reason } of steps) {
      expect(bytes, scope).toBeGreaterThan(0)
      expect(reason, scope).not.toBe('')
    }
    expect(sum(steps.map(({ bytes }) => bytes))).toBeLessThan(unet.plan.bytesMoved)
    const { out } = await cli('inspect', model, ...small, '--unfused')
    expect(out).toMatch(/^unet: \d+ of \d+ steps multiply nothing and move .* MB, \d+ % of all$/m)
    expect(out).toContain('mid_block.attentions.0.norm')
  })

  it('--html writes one page that needs nothing else', async () => {
    const page = inScratch('model.html')
    const { code, out, err } = await cli('inspect', model, ...small, '--html', page)
    expect(code, err).toBe(0)
    expect(out).toMatch(/planned: .* of weights/)
    const html = readFileSync(page, 'utf8')
    expect(html).not.toMatch(/\b(?:src|href)=|url\(|@import|https?:\/\/(?!www\.w3\.org\/)/)
    for (const folder of ['text_encoder', 'unet', 'vae']) expect(html).toContain(`<h2>${folder}</h2>`)
    const { components } = await json('inspect', model, ...small)
    const steps = sum(components.map(({ plan }: { plan: { kernels: object } }) => sum(Object.values(plan.kernels))))
    expect([...html.matchAll(/<rect class="alive/g)]).toHaveLength(steps)
    expect(html).toContain('data-tip="mid_block.attentions.0.norm/groupNorm')
    expect(html).toMatch(/<td>fuseEpilogue<\/td><td>\d+<\/td><td>\d+<\/td><td>[^<]*−\d+ pointwise/)
  })
})

const kernels = ['bench', 'kernels', ...small, ...swiftshader]
const badInput: readonly (readonly [name: string, code: string, argv: () => readonly string[]])[] = [
  ['an unknown component', 'options/invalid', () => [...kernels, '--only', 'text_encoder,lungs']],
  ['no rounds', 'options/invalid', () => [...kernels, '--rounds', '0']],
  ['no depth', 'options/invalid', () => [...kernels, '--by', 'layer', '--depth', '0']],
  ['the depth of layers for kernels', 'options/invalid', () => [...kernels, '--depth', '2']],
  ['rows by something else', 'options/invalid', () => [...kernels, '--by', 'colour']],
  ['a layer that is not there', 'options/invalid', () => ['bench', 'layers', '--only', 'conv 9×9', ...swiftshader]],
  ['the peer on the CPU', 'options/invalid', () => ['bench', 'picture', '--peer', '--device', 'cpu']],
  ['the CPU, whose kernels are not ours', 'options/invalid', () => ['bench', 'kernels', '--device', 'cpu']],
  ['an unknown command', 'options/invalid', () => ['bench', 'everything']],
  ['an unknown order', 'options/invalid', () => ['bench', 'ablation', '--order', 'random']],
  ['an adapter that is not there', 'device/none', () => ['bench', 'kernels', '--device', 'gpu', '--adapter', 'abacus']],
  ['a model that is not there', 'model/not-found', () => [...kernels, '--model', inScratch('nowhere')]],
  ['a size that cannot be', 'options/size', () => ['bench', 'picture', '--width', '65', '--device', 'cpu']],
  ['an unknown sampler', 'sampler/unknown', () => ['bench', 'picture', '--sampler', 'dice', '--device', 'cpu']],
  ['a plot nowhere', 'output/unwritable', () => ['bench', 'ablation', '--svg', inScratch('gone/plot.svg')]],
  ['a page nowhere', 'output/unwritable', () => ['inspect', model, '--html', inScratch('gone/page.html')]],
]

describe('bad input', () => {
  it.each(badInput)('%s: %s, exit 2', async (_, code, argv) => {
    const { code: exit, out } = await cli(...argv(), '--json')
    expect(exit).toBe(2)
    expect(JSON.parse(out).error).toMatchObject({ code })
    expect(existsSync(inScratch('gone'))).toBe(false)
  })
})

it('a report nowhere is refused before anything is measured, exit 2', async () => {
  const { code, out } = await cli('bench', 'layers', '--json', inScratch('gone/layers.json'))
  expect(code).toBe(2)
  expect(JSON.parse(out).error).toMatchObject({ code: 'output/unwritable' })
  expect(existsSync(inScratch('gone'))).toBe(false)
})

function isWithin(part: Event, node: Event): boolean {
  return part.ts >= node.ts - 0.001 && part.ts + part.dur <= node.ts + node.dur + 0.001
}
