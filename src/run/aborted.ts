// The one way an executor stops when it is asked to.
import { PhospheneError } from '../error.ts'

/** Lets timers, signals and other tasks in, then raises 'aborted' when the signal has fired. */
export async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve))
  throwIfAborted(signal)
}

/** Raises 'aborted' when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal)
}

/** What the promise gives, or 'aborted' as soon as the signal fires; the promise goes on, its outcome unheard. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  promise.catch(() => {})
  throwIfAborted(signal)
  let stop = () => {}
  const stopped = new Promise<never>((_resolve, reject) => {
    stop = () => reject(aborted(signal))
  })
  signal.addEventListener('abort', stop)
  try {
    return await Promise.race([promise, stopped])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function aborted({ reason }: AbortSignal): PhospheneError {
  return new PhospheneError(
    { code: 'aborted', message: 'stopped as asked', fix: 'Start again when you want the picture.' },
    { cause: reason },
  )
}
