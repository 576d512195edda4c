// What loading does when: calls into WebGPU and reads of files, seen from outside by wrapping them until the timeline ends.
import type { Device } from '../../src/device/device.ts'
import type { ProgressEvent } from '../../src/pipeline/events.ts'
import type { ByteSource } from '../../src/weights/byte-source.ts'
import type { ModelFiles } from '../../src/weights/model-files.ts'

/** Calls of one kind, in milliseconds since the start. */
interface Span {
  calls: number
  /** From the first call to the last end. */
  firstAt: number
  lastAt: number
  /** The calling thread's share of it. */
  blockingMs: number
  bytes: number
}

export interface LoadTimeline {
  /** `files`, watched. */
  watched(files: ModelFiles): ModelFiles
  watch(device: Device): void
  event(event: ProgressEvent): void
  /** Stops watching; everything so far. */
  end(): object
}

export function loadTimeline(): LoadTimeline {
  const start = performance.now()
  const cpu = process.cpuUsage()
  const spans = new Map<string, Span>()
  const moments: Record<string, number> = {}
  const undo: (() => void)[] = []
  const now = () => Math.round((performance.now() - start) * 10) / 10
  const span = (name: string): Span => {
    const known = spans.get(name) ?? { calls: 0, firstAt: now(), lastAt: 0, blockingMs: 0, bytes: 0 }
    spans.set(name, known)
    return known
  }
  const timed = <T>(name: string, bytes: number, call: () => T): T => {
    const entry = span(name)
    entry.calls++
    entry.bytes += bytes
    const before = performance.now()
    const result = call()
    entry.blockingMs += performance.now() - before
    entry.lastAt = now()
    if (result instanceof Promise)
      result.then(
        () => {
          entry.lastAt = now()
        },
        () => {},
      )
    return result
  }
  /** Wraps a method of the object itself; its class keeps the original. */
  const wrap = (object: object, method: string, bytesOf: (...args: never[]) => number = () => 0) => {
    const own = object as Record<string, unknown>
    const original = own[method] as (...args: never[]) => unknown
    own[method] = (...args: never[]) => timed(method, bytesOf(...args), () => original.apply(object, args))
    undo.push(() => {
      delete own[method]
    })
  }
  let ticks = 0
  let longestTickMs = 0
  let lastTick = performance.now()
  const ticking = setInterval(() => {
    const at = performance.now()
    longestTickMs = Math.max(longestTickMs, at - lastTick - 5)
    lastTick = at
    ticks++
  }, 5)

  const watchedBytes = (bytes: ByteSource): ByteSource => ({
    ...bytes,
    read: (offset, length) => timed('read', length, () => bytes.read(offset, length)),
    readInto: (offset, target) => timed('readInto', target.length, () => bytes.readInto(offset, target)),
    close: () => bytes.close(),
  })

  return {
    watched: (files) => ({ ...files, open: async (file) => watchedBytes(await files.open(file)) }),
    watch(device) {
      moments.deviceOpened = now()
      for (const method of ['createShaderModule', 'createComputePipelineAsync', 'createBindGroup', 'createBuffer'])
        wrap(device.gpu, method)
      wrap(device.gpu.queue, 'submit')
      wrap(device.gpu.queue, 'writeBuffer')
    },
    event(event) {
      if (event.kind === 'phase') moments[event.phase] = now()
      if (event.kind === 'load' && event.doneBytes === event.totalBytes)
        moments[`weights of ${event.component}`] = now()
      if (event.kind === 'step') moments[`step ${event.step}`] = now()
    },
    end() {
      clearInterval(ticking)
      for (const each of undo) each()
      const { user, system } = process.cpuUsage(cpu)
      return {
        moments,
        calls: Object.fromEntries(
          [...spans].map(([name, { bytes, blockingMs, ...each }]) => [
            name,
            {
              ...each,
              blockingMs: Math.round(blockingMs),
              ...(bytes > 0 ? { megabytes: Math.round(bytes / 1e6) } : {}),
            },
          ]),
        ),
        cpuMs: { user: Math.round(user / 1000), system: Math.round(system / 1000) },
        eventLoop: { ticks, longestBlockMs: Math.round(longestTickMs) },
      }
    },
  }
}
