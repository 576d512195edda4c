// From an error to what a person sees and what a script gets.
import { CommanderError } from 'commander'
import { type ErrorCode, PhospheneError } from '../error.ts'
import type { Terminal } from './terminal.ts'

/** What failed while running; everything else is bad input. */
const runtimeCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'internal',
  'run/failed',
  'latents/not-finite',
  'plan/unsupported',
  'device/lost',
  'device/out-of-memory',
  'device/shader',
])

/** 2: bad input; 1: it failed while running; 130: stopped by Ctrl-C. */
export function exitCodeOf(code: ErrorCode): number {
  if (code === 'aborted') return 130
  return runtimeCodes.has(code) ? 1 : 2
}

/** Any error as ours; what we did not raise is our own mistake. */
export function asPhospheneError(error: unknown): PhospheneError {
  if (error instanceof PhospheneError) return error
  if (error instanceof CommanderError)
    return new PhospheneError(
      {
        code: 'options/invalid',
        message: error.message.replace(/^error: /, '').split('\n')[0]!,
        fix: 'Run `phosphene --help`, or a command with --help, to see what there is.',
      },
      { cause: error },
    )
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new PhospheneError(
    {
      code: 'internal',
      message: reason,
      fix: 'This is a mistake of the program: report it with this text and the output of `phosphene doctor --json`.',
    },
    { cause: error },
  )
}

/** Tells about an error and returns the exit code. With --json the error is the one object on stdout as well. */
export function report(error: unknown, terminal: Terminal, json: boolean): number {
  const failure = asPhospheneError(error)
  if (json) terminal.out(`${JSON.stringify({ error: failure })}\n`)
  terminal.err(`error: ${failure.message}\n  fix: ${failure.fix}\n  code: ${failure.code}\n`)
  return exitCodeOf(failure.code)
}
