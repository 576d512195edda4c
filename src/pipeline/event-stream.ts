// Events as an async iterable: whoever iterates sets the pace, and leaving the loop stops the work.
import type { ProgressEvent, ProgressListener, ResultEvent } from './events.ts'
import type { GenerationResult } from './result.ts'

type Generate = (listener: ProgressListener, signal: AbortSignal) => Promise<GenerationResult>

interface Queued {
  readonly event: ProgressEvent
  taken(): void
}

/** Runs `generate` and yields its events, then its result. Errors are raised where the iteration stands. */
export async function* eventStream(
  generate: Generate,
  signal: AbortSignal | undefined,
): AsyncGenerator<ProgressEvent | ResultEvent, void, undefined> {
  const left = new AbortController()
  const queue: Queued[] = []
  let wake = () => {}
  const listener: ProgressListener = (event) =>
    left.signal.aborted
      ? undefined
      : new Promise<void>((taken) => {
          queue.push({ event, taken })
          wake()
        })
  let settled = false
  const running = generate(listener, signal ? AbortSignal.any([signal, left.signal]) : left.signal).finally(() => {
    settled = true
    wake()
  })
  running.catch(() => {}) // raised below, or nobody is there to hear it
  try {
    while (true) {
      const [next] = queue
      if (next) {
        yield next.event
        queue.shift()
        next.taken()
      } else if (settled) {
        break
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    yield { kind: 'result', result: await running }
  } finally {
    left.abort()
    for (const { taken } of queue) taken()
  }
}
