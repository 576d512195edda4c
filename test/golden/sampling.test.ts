// Every scheduler case of the reference data: schedules, whole trajectories and noised images, against diffusers.
import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { parseSchedulerConfig, type RawSchedulerConfig, schedulerConfig } from '../../src/sampling/config.ts'
import { planSampling } from '../../src/sampling/plan-sampling.ts'
import { resolveSampler, samplerForClass } from '../../src/sampling/samplers.ts'
import { type SchedulerClass, schedulerClasses } from '../../src/sampling/scheduler-classes.ts'
import { applyStage, type SamplingRun } from '../../src/sampling/stage.ts'
import { type GoldenCase, goldenFolder, loadIndex, readGolden, within } from './read-golden.ts'

const tensors = readGolden('schedulers.safetensors')
const reference = JSON.parse(readFileSync(`${goldenFolder}schedulers.json`, 'utf8')) as {
  base_config: RawSchedulerConfig
  full_configs: Record<string, Record<string, unknown>>
}
const f32 = (key: string) => tensors.get(key)!.data as Float32Array

function planOf({ settings }: GoldenCase): SamplingRun {
  const original = settings.set_timesteps_kwargs?.original_inference_steps
  return planSampling({
    config: reference.base_config,
    className: settings.class as SchedulerClass,
    extra: { ...settings.extra, ...(original === undefined ? {} : { original_inference_steps: original }) },
    steps: settings.steps,
    ...(settings.step_kwargs?.eta === undefined ? {} : { eta: settings.step_kwargs.eta }),
  })
}

/** The reference's loop: a fixed function of the model's input and t in place of a model. */
function runStages(run: SamplingRun) {
  const noise = f32('in.noise')
  const stepNoise = f32('in.step_noise')
  const slots = Object.fromEntries(run.slots.map((slot) => [slot, new Float32Array(noise.length)]))
  slots.x!.set(noise.map((value) => value * run.initNoiseSigma))
  const trajectory: number[] = []
  let draws = 0
  for (const stage of run.stages) {
    const model = slots.x!.map((value) => Math.tanh(0.7 * value * stage.inputScale + 0.001 * stage.timestep))
    const row = stage.drawsNoise ? stepNoise.subarray(draws * noise.length, ++draws * noise.length) : undefined
    applyStage(stage, slots, model, row)
    trajectory.push(...slots.x!)
  }
  return { final: slots.x!, trajectory, draws }
}

let [passed, total] = [0, 0]
afterAll(() => console.log(`scheduler and add_noise cases within their f32 marks: ${passed} of ${total}`))

describe('diffusers’ schedulers', () => {
  it.each(loadIndex('scheduler').map((each) => [each.id, each] as const))('%s', (_, golden) => {
    total++
    const run = planOf(golden)
    const { final, trajectory, draws } = runStages(run)
    const got: Record<string, ArrayLike<number>> = {
      timesteps: run.timesteps,
      sigmas: run.sigmas ?? [],
      final,
      trajectory,
    }
    for (const [output, key] of Object.entries(golden.outputs)) {
      const reference = Float64Array.from(tensors.get(key)!.data as ArrayLike<number | bigint>, Number)
      const comparison = within(got[output]!, reference, golden.marks[key]!.f32)
      expect(comparison.pass, `${output}: ${comparison.text}`).toBe(true)
      // The marks of some timesteps are as wide as a rounding to the next whole one; whole ones have to be the same.
      if (output === 'timesteps' && reference.every(Number.isInteger)) expect(comparison.maxAbs).toBeLessThan(1e-3)
    }
    const sigmaMark = golden.outputs.sigmas ? golden.marks[golden.outputs.sigmas]!.f32.max_abs : 1e-6
    expect(Math.abs(run.initNoiseSigma - golden.settings.init_noise_sigma)).toBeLessThan(sigmaMark)
    expect(draws).toBe(golden.settings.noise_draws)
    passed++
  })

  it.each(loadIndex('scheduler_add_noise').map((each) => [each.id, each] as const))('%s', (_, golden) => {
    total++
    const run = planOf(golden)
    const { index, timestep } = golden.settings
    const { signal, noise } = run.addNoise(index)
    const [x0, random] = [f32('in.x0'), f32('in.noise')]
    const comparison = within(
      x0.map((value, i) => value * signal + random[i]! * noise),
      f32(golden.outputs.out!),
      golden.marks[golden.outputs.out!]!.f32,
    )
    expect(comparison.pass, comparison.text).toBe(true)
    expect(run.timesteps[index]).toBeCloseTo(timestep, 4)
    passed++
  })
})

it('every sampler of the reference data is named, as the same class with the same overrides', () => {
  for (const { settings } of loadIndex('scheduler')) {
    if (settings.steps !== 20 || settings.extra.solver_type || settings.extra.solver_order) continue
    const { prediction_type: _, ...extra } = settings.extra
    expect(resolveSampler(settings.name), settings.name).toMatchObject({ className: settings.class, extra })
  }
})

it('from_config gives diffusers’ configs, key by key', () => {
  for (const [name, full] of Object.entries(reference.full_configs)) {
    const sampler = resolveSampler(name.replace(/\.(eps|v)$/, ''))
    const prediction = name.endsWith('.v') ? 'v_prediction' : 'epsilon'
    const config = schedulerConfig(reference.base_config, sampler.className, {
      ...sampler.extra,
      prediction_type: prediction,
    })
    for (const [key, value] of Object.entries(config)) {
      const known = key in schedulerClasses[sampler.className].defaults
      if (!known) continue
      expect({ [key]: String(value) }, name).toEqual({ [key]: String(full[key] ?? null) })
    }
  }
})

describe('schedules of the pipeline cases', () => {
  const cases = loadIndex('pipeline')
  it.each(cases.map((each) => [each.id, each] as const))('%s', (_, { id, model, settings, outputs, marks }) => {
    const file = `${goldenFolder}${model}/scheduler/scheduler_config.json`
    const config = parseSchedulerConfig(readFileSync(file, 'utf8'))
    const { num_inference_steps: steps, strength, eta = 0 } = settings.call
    const { className } = samplerForClass(settings.scheduler_class ?? (config._class_name as string))
    const options = { config, className, extra: settings.scheduler_extra ?? {}, steps, eta }

    const whole = within(planSampling(options).timesteps, settings.timesteps, { max_abs: 1e-3, rel: 1e-6 })
    expect(whole.pass, whole.text).toBe(true)

    const run = planSampling({ ...options, strength })
    if (outputs.step_latents) expect(run.stages.length).toBe(marks[outputs.step_latents]!.shape[0])
    // Before the steps, a pipeline draws: the latents; or samples of the VAE (masked image last) and the noise.
    const before =
      settings.kind === 'img2img' || (id.includes('inpaint9') && strength === 1)
        ? 2
        : settings.kind === 'inpaint'
          ? 3
          : 1
    const stepDraws = run.stages.filter((stage) => stage.drawsNoise).length
    const generators = Array.isArray(settings.seed) ? settings.seed.length : 1
    expect((before + stepDraws) * generators).toBe(settings.draws.length)
  })
})
