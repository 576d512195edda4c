// The one way a host executor stops when it is asked to.
import { PhospheneError } from '../error.ts'

/** Lets timers, signals and other tasks in, then raises 'aborted' when the signal has fired. */
export async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve))
  throwIfAborted(signal)
}

/** Raises 'aborted' when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return
  throw new PhospheneError(
    { code: 'aborted', message: 'stopped as asked', fix: 'Start again when you want the picture.' },
    { cause: signal.reason },
  )
}
