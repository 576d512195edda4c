// The commands that draw nothing: what they print and return.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { copyModel, type ScratchFolder, scratchFolder } from './damaged-model.ts'
import { runCli as cli } from './run-cli.ts'

let scratch: ScratchFolder
let model: string

beforeEach(() => {
  scratch = scratchFolder()
  model = copyModel(scratch)
})
afterEach(() => scratch.dispose())

describe('the other commands', () => {
  it('samplers lists every name with its equivalents', async () => {
    const { code, out } = await cli(['samplers'])
    expect(code).toBe(0)
    expect(out).toMatch(/^dpmpp_2m_karras +DPM\+\+ 2M Karras +DPMSolverMultistepScheduler use_karras_sigmas=true$/m)
    const { samplers } = JSON.parse((await cli(['samplers', '--json'])).out)
    expect(samplers).toHaveLength(29)
  })

  it('inspect shows components, graph, plan and memory', async () => {
    const { code, out, err } = await cli(['inspect', model, '--json', '--width', '64', '--height', '96'])
    expect(code, err).toBe(0)
    const report = JSON.parse(out)
    expect(report).toMatchObject({ className: 'StableDiffusionPipeline', width: 64, height: 96 })
    expect(report.components.map((each: { folder: string }) => each.folder)).toEqual(['text_encoder', 'unet', 'vae'])
    const [, denoiser] = report.components
    expect(denoiser.graph.inputs.sample).toEqual([2, 12, 8, 4])
    expect(denoiser.plan.arenaBytes).toBeGreaterThanOrEqual(denoiser.plan.liveLowerBoundBytes)
    expect(denoiser.plan.dispatches).toBeGreaterThan(100)
    expect((await cli(['inspect', model])).out).toMatch(/planned: .* of weights/)
    expect((await cli(['inspect', scratch.path])).code).toBe(2)
  })

  it('doctor proves the CPU and SwiftShader by computing', async () => {
    const { code, out } = await cli(['doctor', '--json'])
    expect(code).toBe(0)
    const report = JSON.parse(out)
    const works = (device: string) =>
      report.executors.filter((each: { device: string }) => each.device === device).map(({ proofs }: never) => proofs)
    expect(works('cpu')).toMatchObject([{ f32: { ok: true }, f16: { ok: true } }])
    expect(works('software')).toContainEqual(
      expect.objectContaining({
        f32: expect.objectContaining({ ok: true }),
        f16: expect.objectContaining({ ok: true }),
      }),
    )
  }, 600_000) // lavapipe, where the system has it, compiles for minutes the first time

  it('help and version go to stdout', async () => {
    expect(await cli(['--version'])).toMatchObject({ code: 0, out: '0.1.0\n', err: '' })
    const { code, out } = await cli(['generate', '--help'])
    expect(code).toBe(0)
    expect(out).toContain('--guidance-rescale')
  })
})
