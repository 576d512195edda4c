import { describe, expect, it } from 'vitest'
import { parseSchedulerConfig, schedulerConfig } from './config.ts'

const sd15 = { _class_name: 'PNDMScheduler', beta_schedule: 'scaled_linear', steps_offset: 1, skip_prk_steps: true }

describe('schedulerConfig', () => {
  it('takes over what the file spells out, not what its class defaulted', () => {
    expect(schedulerConfig(sd15, 'DDIMScheduler').timestep_spacing).toBe('leading')
    expect(schedulerConfig(sd15, 'EulerDiscreteScheduler')).toMatchObject({
      timestep_spacing: 'linspace',
      beta_schedule: 'scaled_linear',
      steps_offset: 1,
    })
    const sdxl = { ...sd15, timestep_spacing: 'leading' }
    expect(schedulerConfig(sdxl, 'UniPCMultistepScheduler').timestep_spacing).toBe('leading')
  })

  it('ignores keys of the file that the class does not know', () => {
    const file = { ...sd15, timestep_spacing: 'trailing', use_karras_sigmas: true }
    expect(schedulerConfig(file, 'DPMSolverSinglestepScheduler').timestep_spacing).toBe('linspace')
    expect(schedulerConfig(file, 'DDIMScheduler').use_karras_sigmas).toBe(false)
  })

  it('lets extra win, and null stand for the default', () => {
    expect(schedulerConfig(sd15, 'DDIMScheduler', { steps_offset: 0 }).steps_offset).toBe(0)
    expect(schedulerConfig({ use_karras_sigmas: null }, 'EulerDiscreteScheduler').use_karras_sigmas).toBe(false)
  })

  it('reads a sister class’s solver names as its own default', () => {
    const unipc = { solver_type: 'bh2', algorithm_type: 'deis' }
    expect(schedulerConfig(unipc, 'DPMSolverMultistepScheduler')).toMatchObject({
      solver_type: 'midpoint',
      algorithm_type: 'dpmsolver++',
    })
    expect(schedulerConfig({ solver_type: 'heun' }, 'UniPCMultistepScheduler').solver_type).toBe('bh2')
    expect(schedulerConfig({ solver_type: 'midpoint' }, 'DEISMultistepScheduler').solver_type).toBe('logrho')
  })

  it.each([
    [{ beta_start: 'small' }, 'model/config'],
    [{ beta_schedule: 'cubic' }, 'model/config'],
    [{ prediction_type: 'flow_prediction' }, 'model/config'],
    [{ num_train_timesteps: 0 }, 'model/config'],
    [{ trained_betas: [0.1, 'x'] }, 'model/config'],
    [{ trained_betas: [0.1, 0.2] }, 'model/config'],
    [[], 'model/config'],
    [null, 'model/config'],
    [{ thresholding: true }, 'model/unsupported'],
  ])('refuses %j', (json, code) => {
    expect(() => schedulerConfig(json, 'DDIMScheduler')).toThrow(expect.objectContaining({ code }))
  })

  it('says which value is wrong, and where', () => {
    expect(() => schedulerConfig({ beta_schedule: 'cubic' }, 'DDIMScheduler')).toThrow(/beta_schedule = "cubic"/)
  })
})

describe('parseSchedulerConfig', () => {
  it('reads Python’s infinities, and leaves strings alone', () => {
    const text = '{"lambda_min_clipped": -Infinity, "sigma_max": Infinity, "a": NaN, "note": "-Infinity \\" NaN"}'
    expect(parseSchedulerConfig(text)).toEqual({
      lambda_min_clipped: Number.NEGATIVE_INFINITY,
      sigma_max: Number.POSITIVE_INFINITY,
      a: null,
      note: '-Infinity " NaN',
    })
  })

  it.each(['{', '[]', '3', ''])('refuses %j', (text) => {
    expect(() => parseSchedulerConfig(text)).toThrow(expect.objectContaining({ code: 'model/config' }))
  })
})
