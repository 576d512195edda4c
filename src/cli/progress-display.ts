// A pipeline's progress on stderr: bars on a terminal, plain lines elsewhere.
import { SingleBar } from 'cli-progress'
import type { ProgressEvent } from '../pipeline/events.ts'
import type { Terminal } from './terminal.ts'

export interface ProgressDisplay {
  show(event: ProgressEvent): void
  /** Ends a bar that is still open. */
  close(): void
}

export function progressDisplay(terminal: Terminal): ProgressDisplay {
  return terminal.bar ? barDisplay(terminal, terminal.bar) : lineDisplay(terminal)
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`

function stepFacts(event: Extract<ProgressEvent, { kind: 'step' }>, elapsedMs: number) {
  const perStep = elapsedMs / event.step
  const rate = perStep < 1000 ? `${(1000 / perStep).toFixed(1)} steps/s` : `${(perStep / 1000).toFixed(2)} s/step`
  return { rate, left: `${seconds(perStep * (event.steps - event.step))} left` }
}

function lineDisplay(terminal: Terminal): ProgressDisplay {
  let elapsedMs = 0
  return {
    show(event) {
      switch (event.kind) {
        case 'load':
          if (event.doneBytes === event.totalBytes)
            terminal.err(`loaded ${event.component}: ${megabytes(event.totalBytes)} MB\n`)
          break
        case 'tune':
          terminal.err(`tuning kernels of ${event.component}: ${event.done} of ${event.total}\n`)
          break
        case 'step': {
          elapsedMs += event.elapsedMs
          const { rate, left } = stepFacts(event, elapsedMs)
          terminal.err(`step ${event.step}/${event.steps}, ${rate}, ${left}\n`)
          break
        }
        case 'image':
          terminal.err(`decoded picture ${event.image}/${event.count}\n`)
          break
        case 'warning':
          terminal.err(`warning: ${event.message}\n`)
          break
        case 'phase':
          break
      }
    },
    close() {},
  }
}

function barDisplay(terminal: Terminal, stream: NodeJS.WriteStream): ProgressDisplay {
  let bar: SingleBar | undefined
  let title = ''
  let elapsedMs = 0
  const open = (name: string, total: number, format: string, payload: object) => {
    if (title === name) return
    close()
    title = name
    bar = new SingleBar({ format, stream, barsize: 28, hideCursor: true, clearOnComplete: false })
    bar.start(total, 0, payload)
  }
  const close = () => {
    bar?.stop()
    bar = undefined
    title = ''
  }
  return {
    show(event) {
      switch (event.kind) {
        case 'load': {
          const payload = { megabytes: megabytes(event.doneBytes), of: megabytes(event.totalBytes) }
          open(event.component, event.totalBytes, `${event.component.padEnd(12)} {bar} {megabytes}/{of} MB`, payload)
          bar?.update(event.doneBytes, payload)
          if (event.doneBytes === event.totalBytes) close()
          break
        }
        case 'tune': {
          const title = `tuning kernels of ${event.component}`
          open(title, event.total, `${title} {bar} {value} of {total}`, {})
          bar?.update(event.done)
          if (event.done === event.total) close()
          break
        }
        case 'step': {
          elapsedMs += event.elapsedMs
          const payload = stepFacts(event, elapsedMs)
          open('steps', event.steps, `${'steps'.padEnd(12)} {bar} {value}/{total}, {rate}, {left}`, payload)
          bar?.update(event.step, payload)
          if (event.step === event.steps) close()
          break
        }
        case 'warning':
          close()
          terminal.err(`warning: ${event.message}\n`)
          break
        case 'image':
        case 'phase':
          break
      }
    },
    close,
  }
}
