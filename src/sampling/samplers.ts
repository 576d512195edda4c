// The samplers that people choose from, by our name and by AUTOMATIC1111's label.
import { PhospheneError } from '../error.ts'
import type { SchedulerConfig } from './config.ts'
import { lcm, tcd } from './families/consistency.ts'
import { ddim } from './families/ddim.ts'
import { ddpm } from './families/ddpm.ts'
import { deis } from './families/deis.ts'
import { dpmMultistep } from './families/dpm-multistep.ts'
import { dpmSde } from './families/dpm-sde.ts'
import { dpmSinglestep } from './families/dpm-singlestep.ts'
import { euler, eulerAncestral } from './families/euler.ts'
import { heun } from './families/heun.ts'
import { kdpm2, kdpm2Ancestral } from './families/kdpm2.ts'
import { lms } from './families/lms.ts'
import { pndm } from './families/pndm.ts'
import { unipc } from './families/unipc.ts'
import { type SchedulerClass, schedulerClasses } from './scheduler-classes.ts'
import type { Family } from './trajectory.ts'

/** Each class's mathematics. */
export const families: Readonly<Record<SchedulerClass, Family>> = {
  DDIMScheduler: ddim,
  DDPMScheduler: ddpm,
  PNDMScheduler: pndm,
  EulerDiscreteScheduler: euler,
  EulerAncestralDiscreteScheduler: eulerAncestral,
  DPMSolverMultistepScheduler: dpmMultistep,
  DPMSolverSinglestepScheduler: dpmSinglestep,
  DPMSolverSDEScheduler: dpmSde,
  UniPCMultistepScheduler: unipc,
  HeunDiscreteScheduler: heun,
  KDPM2DiscreteScheduler: kdpm2,
  KDPM2AncestralDiscreteScheduler: kdpm2Ancestral,
  DEISMultistepScheduler: deis,
  LMSDiscreteScheduler: lms,
  LCMScheduler: lcm,
  TCDScheduler: tcd,
}

export interface Sampler {
  readonly className: SchedulerClass
  /** `from_config` overrides that make the class this sampler. */
  readonly extra: Partial<SchedulerConfig>
  /** AUTOMATIC1111's name, where it has this sampler. */
  readonly a1111?: string
  /** Where A1111's picture differs although the name is the same. */
  readonly remark?: string
}

const karras = { use_karras_sigmas: true } as const
const sde = { algorithm_type: 'sde-dpmsolver++' } as const
const modelRange =
  "A1111 spans its Karras sigmas over the model's range; this class over the spaced timesteps', which is less with leading spacing (SDXL)."
const rounded = 'A1111 gives the model fractional timesteps; this class rounds them.'
const spacingRemark =
  'A1111 spaces n timesteps from 999 to 0; this class n + 1 and drops the lowest, so the middle steps differ.'
const strided = 'A1111 takes every (1000 // n)-th timestep, which is more than n of them where n does not divide 1000.'
const brownian =
  'A1111 draws the noise from a Brownian tree, which cannot be reproduced; the schedule and the steps agree.'

export const samplers = {
  ddim: {
    className: 'DDIMScheduler',
    extra: {},
    a1111: 'DDIM',
    remark: strided,
  },
  ddpm: { className: 'DDPMScheduler', extra: {} },
  pndm: {
    className: 'PNDMScheduler',
    extra: {},
    a1111: 'PLMS',
    remark: strided,
  },
  euler: { className: 'EulerDiscreteScheduler', extra: {}, a1111: 'Euler' },
  euler_karras: { className: 'EulerDiscreteScheduler', extra: karras, a1111: 'Euler Karras', remark: modelRange },
  euler_a: { className: 'EulerAncestralDiscreteScheduler', extra: {}, a1111: 'Euler a' },
  dpmpp_2m: { className: 'DPMSolverMultistepScheduler', extra: {}, a1111: 'DPM++ 2M', remark: spacingRemark },
  dpmpp_2m_karras: {
    className: 'DPMSolverMultistepScheduler',
    extra: karras,
    a1111: 'DPM++ 2M Karras',
    remark: rounded,
  },
  dpmpp_2m_sde: {
    className: 'DPMSolverMultistepScheduler',
    extra: sde,
    a1111: 'DPM++ 2M SDE',
    remark: `${spacingRemark} ${brownian}`,
  },
  dpmpp_2m_sde_karras: {
    className: 'DPMSolverMultistepScheduler',
    extra: { ...sde, ...karras },
    a1111: 'DPM++ 2M SDE Karras',
    remark: `${rounded} ${brownian}`,
  },
  dpmpp_3m: { className: 'DPMSolverMultistepScheduler', extra: { solver_order: 3 } },
  dpmpp_3m_sde: {
    className: 'DPMSolverMultistepScheduler',
    extra: { ...sde, solver_order: 3, solver_type: 'heun', lower_order_final: false },
    a1111: 'DPM++ 3M SDE',
    remark: `k-diffusion's steps; diffusers' own third-order SDE term differs in sign. ${spacingRemark} ${brownian}`,
  },
  dpmpp_2s: {
    className: 'DPMSolverSinglestepScheduler',
    extra: {},
    remark: 'Not A1111’s DPM++ 2S a, which is ancestral.',
  },
  dpmpp_2s_karras: {
    className: 'DPMSolverSinglestepScheduler',
    extra: karras,
    remark: 'Not A1111’s DPM++ 2S a Karras, which is ancestral.',
  },
  dpmpp_sde: { className: 'DPMSolverSDEScheduler', extra: {}, a1111: 'DPM++ SDE', remark: brownian },
  dpmpp_sde_karras: {
    className: 'DPMSolverSDEScheduler',
    extra: karras,
    a1111: 'DPM++ SDE Karras',
    remark: `${modelRange} ${brownian}`,
  },
  unipc: { className: 'UniPCMultistepScheduler', extra: {}, a1111: 'UniPC', remark: 'A1111’s is of order 3 and bh1.' },
  unipc_karras: { className: 'UniPCMultistepScheduler', extra: karras },
  heun: { className: 'HeunDiscreteScheduler', extra: {}, a1111: 'Heun' },
  heun_karras: { className: 'HeunDiscreteScheduler', extra: karras, a1111: 'Heun Karras', remark: modelRange },
  kdpm2: { className: 'KDPM2DiscreteScheduler', extra: {}, a1111: 'DPM2' },
  kdpm2_karras: { className: 'KDPM2DiscreteScheduler', extra: karras, a1111: 'DPM2 Karras', remark: modelRange },
  kdpm2_a: { className: 'KDPM2AncestralDiscreteScheduler', extra: {}, a1111: 'DPM2 a' },
  kdpm2_a_karras: {
    className: 'KDPM2AncestralDiscreteScheduler',
    extra: karras,
    a1111: 'DPM2 a Karras',
    remark: modelRange,
  },
  deis: { className: 'DEISMultistepScheduler', extra: {} },
  lms: { className: 'LMSDiscreteScheduler', extra: {}, a1111: 'LMS' },
  lms_karras: { className: 'LMSDiscreteScheduler', extra: karras, a1111: 'LMS Karras', remark: modelRange },
  lcm: { className: 'LCMScheduler', extra: {}, a1111: 'LCM' },
  tcd: { className: 'TCDScheduler', extra: {} },
} as const satisfies Readonly<Record<string, Sampler>>

export type SamplerName = keyof typeof samplers

export const samplerNames = Object.keys(samplers) as SamplerName[]

/** A sampler by our name or by A1111's label, in any case. Raises 'sampler/unknown', listing the known ones. */
export function resolveSampler(name: string): Sampler & { readonly name: SamplerName } {
  const wanted = name.trim().toLowerCase()
  const found = samplerNames.find((known) => known === wanted || labelOf(known)?.toLowerCase() === wanted)
  if (found) return { name: found, ...samplers[found] }
  throw new PhospheneError({
    code: 'sampler/unknown',
    message: `there is no sampler '${name}'`,
    fix: `Use one of: ${samplerNames.join(', ')}.`,
  })
}

function labelOf(name: SamplerName): string | undefined {
  const sampler: Sampler = samplers[name]
  return sampler.a1111
}

/**
 * What to run when no sampler is named: the class that the model's scheduler_config.json states (`_class_name`), with that
 * config as it is. Raises 'model/unsupported' for classes that are not among ours.
 */
export function samplerForClass(className: string): Sampler {
  if (Object.hasOwn(schedulerClasses, className)) return { className: className as SchedulerClass, extra: {} }
  throw new PhospheneError({
    code: 'model/unsupported',
    message: `the model's scheduler class is ${className}, which is not one of: ${Object.keys(schedulerClasses).join(', ')}`,
    fix: 'Name a sampler yourself, for example dpmpp_2m_karras.',
  })
}
