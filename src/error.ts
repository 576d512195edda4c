// Every error a person can see: what was wrong, where, and what to do about it.

/** Stable error codes; docs/errors.md lists each with cause and cure (a test compares the two). */
export const errorCodes = [
  'options/invalid',
  'options/size',
  'output/unwritable',
  'model/not-found',
  'model/config',
  'model/unsupported',
  'weights/truncated',
  'weights/header',
  'weights/dtype',
  'weights/shape',
  'weights/missing-key',
  'weights/http',
  'weights/quantised',
  'tokenizer/missing',
  'tokenizer/invalid',
  'sampler/unknown',
  'sampler/options',
  'latents/file',
  'latents/not-finite',
  'graph/shape',
  'plan/memory',
  'plan/too-large',
  'plan/unsupported',
  'device/none',
  'device/lost',
  'device/out-of-memory',
  'device/shader',
  'run/failed',
  'aborted',
  'internal',
] as const

export type ErrorCode = (typeof errorCodes)[number]

export interface ErrorDetails {
  readonly code: ErrorCode
  /** What was wrong and where, with both values where two disagree. */
  readonly message: string
  /** What to do, as an imperative sentence. */
  readonly fix: string
}

/** The one error class of the library. `code` is stable; `message` and `fix` are for people. */
export class PhospheneError extends Error implements ErrorDetails {
  readonly code: ErrorCode
  readonly fix: string

  constructor(details: ErrorDetails, options?: ErrorOptions) {
    super(details.message, options)
    this.name = 'PhospheneError'
    this.code = details.code
    this.fix = details.fix
  }

  toJSON(): ErrorDetails {
    return { code: this.code, message: this.message, fix: this.fix }
  }
}
