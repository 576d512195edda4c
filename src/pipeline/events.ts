// What a pipeline tells while it works.
import type { Picture } from '../image/pixels.ts'
import type { GenerationResult } from './result.ts'

/** Weights of a component on their way to the executor. */
export interface LoadEvent {
  readonly kind: 'load'
  /** Folder of the component, e.g. `unet`. */
  readonly component: string
  readonly doneBytes: number
  readonly totalBytes: number
}

/** Kernels of a component are being measured, to choose the fastest (see `tune`). */
export interface TuneEvent {
  readonly kind: 'tune'
  /** Folder of the component, e.g. `unet`. */
  readonly component: string
  /** Requests measured so far: 0 … `total`. Where time is over first, fewer than all. */
  readonly done: number
  readonly total: number
}

/** A part of the work begins. */
export interface PhaseEvent {
  readonly kind: 'phase'
  readonly phase: 'encode' | 'denoise' | 'decode'
}

/** One call of the denoiser is done. */
export interface StepEvent {
  readonly kind: 'step'
  /** 1 … `steps`. */
  readonly step: number
  /** Calls in all: some samplers take more than the number of steps asked for. */
  readonly steps: number
  readonly timestep: number
  readonly elapsedMs: number
  /** The latents as they are now, [pictures, channels, h, w]. To be called before the listener returns, or before the next event is asked for. */
  latents(): Promise<Float32Array>
  /** The first picture's rough colours at the size of the latents; undefined where the model has no factors for them. When to call: as `latents`. */
  preview(): Promise<Picture | undefined>
}

/** A picture is decoded. */
export interface ImageEvent {
  readonly kind: 'image'
  /** 1 … `count`. */
  readonly image: number
  readonly count: number
}

/** Something that deserves to be said but stops nothing. */
export interface WarningEvent {
  readonly kind: 'warning'
  readonly message: string
}

export type ProgressEvent = LoadEvent | TuneEvent | PhaseEvent | StepEvent | ImageEvent | WarningEvent

export interface ResultEvent {
  readonly kind: 'result'
  readonly result: GenerationResult
}

/** The pipeline waits for what it returns, except for 'load' and 'tune' events. */
export type ProgressListener = (event: ProgressEvent) => void | Promise<void>
