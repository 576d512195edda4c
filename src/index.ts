// The package in the browser (and anywhere else with navigator.gpu).
export { type ErrorCode, type ErrorDetails, errorCodes, PhospheneError } from './error.ts'
export type { Picture } from './image/pixels.ts'
export type {
  ImageEvent,
  LoadEvent,
  PhaseEvent,
  ProgressEvent,
  ProgressListener,
  ResultEvent,
  StepEvent,
  TuneEvent,
  WarningEvent,
} from './pipeline/events.ts'
export { type OpenOptions, openPipeline } from './pipeline/open-browser.ts'
export type { Latents, TextToImageOptions } from './pipeline/options.ts'
export type {
  GeneratedImage,
  GenerationProfile,
  GenerationResult,
  ImageSettings,
  Stage,
  Timings,
} from './pipeline/result.ts'
export { type SamplerRow, samplerList } from './pipeline/sampler-list.ts'
export type { TextToImage } from './pipeline/text-to-image.ts'
export { type Trace, type TraceAbout, traceOf } from './pipeline/trace.ts'
export { httpFolder } from './weights/http.ts'
export type { ModelFiles } from './weights/model-files.ts'
