// diffusers' scheduler classes: the keys that each one's constructor knows, and its defaults.
import type { SchedulerConfig } from './config.ts'

export type SchedulerClass =
  | 'DDIMScheduler'
  | 'DDPMScheduler'
  | 'PNDMScheduler'
  | 'EulerDiscreteScheduler'
  | 'EulerAncestralDiscreteScheduler'
  | 'DPMSolverMultistepScheduler'
  | 'DPMSolverSinglestepScheduler'
  | 'DPMSolverSDEScheduler'
  | 'UniPCMultistepScheduler'
  | 'HeunDiscreteScheduler'
  | 'KDPM2DiscreteScheduler'
  | 'KDPM2AncestralDiscreteScheduler'
  | 'DEISMultistepScheduler'
  | 'LMSDiscreteScheduler'
  | 'LCMScheduler'
  | 'TCDScheduler'

interface ClassDescription {
  readonly defaults: Partial<SchedulerConfig>
}

const model = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  prediction_type: 'epsilon',
} as const satisfies Partial<SchedulerConfig>

/** The ports of k-diffusion and the distilled models' classes default to Stable Diffusion's own range of betas. */
const stableModel = { ...model, beta_start: 0.00085, beta_end: 0.012 } as const

const spacing = (timestep_spacing: SchedulerConfig['timestep_spacing']) => ({ timestep_spacing, steps_offset: 0 })

const sigmaSchedules = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const

const solver = {
  solver_order: 2,
  thresholding: false,
  lower_order_final: true,
  use_flow_sigmas: false,
  ...sigmaSchedules,
} as const

const distilled = {
  ...stableModel,
  beta_schedule: 'scaled_linear',
  ...spacing('leading'),
  original_inference_steps: 50,
  clip_sample: false,
  clip_sample_range: 1,
  set_alpha_to_one: true,
  thresholding: false,
  timestep_scaling: 10,
  rescale_betas_zero_snr: false,
} as const

export const schedulerClasses: Readonly<Record<SchedulerClass, ClassDescription>> = {
  DDIMScheduler: {
    defaults: {
      ...model,
      ...spacing('leading'),
      clip_sample: true,
      clip_sample_range: 1,
      set_alpha_to_one: true,
      thresholding: false,
      rescale_betas_zero_snr: false,
    },
  },
  DDPMScheduler: {
    defaults: {
      ...model,
      ...spacing('leading'),
      variance_type: 'fixed_small',
      clip_sample: true,
      clip_sample_range: 1,
      thresholding: false,
      rescale_betas_zero_snr: false,
    },
  },
  PNDMScheduler: {
    defaults: { ...model, ...spacing('leading'), skip_prk_steps: false, set_alpha_to_one: false },
  },
  EulerDiscreteScheduler: {
    defaults: {
      ...model,
      ...spacing('linspace'),
      ...sigmaSchedules,
      interpolation_type: 'linear',
      timestep_type: 'discrete',
      sigma_min: null,
      sigma_max: null,
      rescale_betas_zero_snr: false,
      final_sigmas_type: 'zero',
    },
  },
  EulerAncestralDiscreteScheduler: {
    defaults: { ...model, ...spacing('linspace'), rescale_betas_zero_snr: false },
  },
  DPMSolverMultistepScheduler: {
    defaults: {
      ...model,
      ...spacing('linspace'),
      ...solver,
      algorithm_type: 'dpmsolver++',
      solver_type: 'midpoint',
      euler_at_final: false,
      use_lu_lambdas: false,
      final_sigmas_type: 'zero',
      lambda_min_clipped: Number.NEGATIVE_INFINITY,
      variance_type: null,
      rescale_betas_zero_snr: false,
    },
  },
  DPMSolverSinglestepScheduler: {
    defaults: {
      ...model,
      ...solver,
      algorithm_type: 'dpmsolver++',
      solver_type: 'midpoint',
      final_sigmas_type: 'zero',
      lambda_min_clipped: Number.NEGATIVE_INFINITY,
      variance_type: null,
    },
  },
  DPMSolverSDEScheduler: { defaults: { ...stableModel, ...spacing('linspace'), ...sigmaSchedules } },
  UniPCMultistepScheduler: {
    defaults: {
      ...model,
      ...spacing('linspace'),
      ...solver,
      predict_x0: true,
      solver_type: 'bh2',
      disable_corrector: [],
      final_sigmas_type: 'zero',
      rescale_betas_zero_snr: false,
      sigma_min: null,
      sigma_max: null,
    },
  },
  HeunDiscreteScheduler: {
    defaults: {
      ...stableModel,
      ...spacing('linspace'),
      ...sigmaSchedules,
      clip_sample: false,
      clip_sample_range: 1,
    },
  },
  KDPM2DiscreteScheduler: { defaults: { ...stableModel, ...spacing('linspace'), ...sigmaSchedules } },
  KDPM2AncestralDiscreteScheduler: { defaults: { ...stableModel, ...spacing('linspace'), ...sigmaSchedules } },
  DEISMultistepScheduler: {
    defaults: { ...model, ...spacing('linspace'), ...solver, algorithm_type: 'deis', solver_type: 'logrho' },
  },
  LMSDiscreteScheduler: { defaults: { ...model, ...spacing('linspace'), ...sigmaSchedules } },
  LCMScheduler: { defaults: distilled },
  TCDScheduler: { defaults: distilled },
}
