import { describe, expect, it } from 'vitest'
import { resolveSampler, samplerForClass, samplerNames, samplers } from './samplers.ts'
import { schedulerClasses } from './scheduler-classes.ts'

describe('resolveSampler', () => {
  it('knows our names and A1111’s labels in any case', () => {
    expect(resolveSampler('dpmpp_2m_karras').className).toBe('DPMSolverMultistepScheduler')
    expect(resolveSampler('DPM++ 2M Karras').name).toBe('dpmpp_2m_karras')
    expect(resolveSampler(' euler A ').name).toBe('euler_a')
    expect(resolveSampler('PLMS').name).toBe('pndm')
  })

  it('lists the known ones for an unknown one', () => {
    expect(() => resolveSampler('eular')).toThrow(
      expect.objectContaining({ code: 'sampler/unknown', fix: expect.stringContaining('euler_a, dpmpp_2m') }),
    )
  })

  it('gives each label to one sampler, and sets only options that its class has', () => {
    const labels = samplerNames.map((name) => resolveSampler(name).a1111).filter((label) => label !== undefined)
    expect(new Set(labels).size).toBe(labels.length)
    for (const { className, extra } of Object.values(samplers)) {
      for (const key of Object.keys(extra)) expect(schedulerClasses[className].defaults).toHaveProperty(key)
    }
  })
})

describe('samplerForClass', () => {
  it('takes the model’s own class', () => {
    expect(samplerForClass('PNDMScheduler')).toEqual({ className: 'PNDMScheduler', extra: {} })
  })

  it.each(['FlowMatchEulerDiscreteScheduler', 'toString', ''])('refuses %j', (className) => {
    expect(() => samplerForClass(className)).toThrow(expect.objectContaining({ code: 'model/unsupported' }))
  })
})
